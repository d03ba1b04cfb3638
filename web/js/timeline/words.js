// What the timeline says, in Chinese.
// @ts-check
import { addWords } from "../shared/text.js";

addWords("zh", {
  "Start of the edit": "编辑起点",
  "End of the edit": "编辑终点",
  "{seconds} s": "{seconds} 秒",
  "{count} frames, to {seconds} s": "{count} 帧，到 {seconds} 秒",
  "Drag to move the part; Shift and the arrows on the start do the same": "拖动以移动片段；在起点上按 Shift 加方向键效果相同",
  "Qwen3-VL sees {count} frames: {times} s": "Qwen3-VL 看到 {count} 帧：{times} 秒",
  "Qwen3-VL sees frame {frame} ({seconds} s)": "Qwen3-VL 看到第 {frame} 帧（{seconds} 秒）",
  "Qwen3-VL sees {count}": "Qwen3-VL 看到 {count} 帧",
  "Add a point": "添加控制点",
  "As trained: no curve": "与训练相同：不用曲线",
  "Strength of the source over the steps": "各步的源素材强度",
  "Point of the curve": "曲线控制点",
  "step 1": "第 1 步",
  "step {steps}": "第 {steps} 步",
  "strength_curve cannot be read; write points as 1:1, 0.5:0.8": "无法读取 strength_curve；请写成 1:1, 0.5:0.8",
  "strength {strength} at noise level {sigma}, step {step}": "强度 {strength}，噪声水平 {sigma}，第 {step} 步",
  "Strength over the steps": "各步强度",
  Clip: "片段",
  "{start} – {end} s of {seconds} s": "{start} – {end} 秒，共 {seconds} 秒",
  "fps unknown → {count} frames at {fps} (4k + 1)": "帧率未知 → {count} 帧，{fps} fps（4k + 1）",
  "{taken} frames at {rate} → {count} frames at {fps} (4k + 1)": "{taken} 帧，{rate} fps → {count} 帧，{fps} fps（4k + 1）",
  "{taken} of {all} frames at {rate} → {count} frames at {fps} (4k + 1)":
    "{all} 帧中的 {taken} 帧，{rate} fps → {count} 帧，{fps} fps（4k + 1）",
  "A connection sets the part; a run may take another.": "片段由连接决定，运行时可能不同。",
  "The clip ends before the start.": "视频在起点之前就结束了。",
  "The first frame is edited as a still.": "第一帧按图像编辑。",
  "Longer than the 121 frames of training: use context windows.": "超过训练时的 121 帧：请使用上下文窗口。",
  "What gives the clip is muted or bypassed.": "提供视频的节点已静音或绕过。",
  "Connect a clip or picture to see it here.": "连接视频或图像后在此显示。",
  "The source comes from {title}: its frames are known once it runs.": "源素材来自“{title}”：运行后才知道各帧。",
  "Looking at the file …": "正在读取文件……",
  "A picture of {width} x {height}, edited as a still.": "{width} x {height} 的图像，按图像编辑。",
  "The file cannot be read here; fps unknown.": "无法在此读取文件；帧率未知。",
});

// What the panel of a run says.
// @ts-check
import { addWords } from "../shared/text.js";

addWords("zh", {
  "Run of this sampler": "此采样器的运行情况",
  Phases: "阶段",
  Load: "加载",
  Encode: "编码",
  Denoise: "去噪",
  Decode: "解码",
  "under way": "进行中",
  "took {time}": "用时 {time}",
  done: "已完成",
  "kept from before": "沿用之前的结果",
  "stopped here": "在此停止",
  "not yet": "尚未开始",
  Progress: "进度",
  "Not run yet": "尚未运行",
  "Another part of the graph runs": "图中的其他部分正在运行",
  "Loading the model": "正在加载模型",
  "Step {step} of {steps}": "第 {step} 步，共 {steps} 步",
  "{steps} steps ahead": "共 {steps} 步",
  "{time} left": "剩余 {time}",
  Finished: "已完成",
  Cancelled: "已取消",
  "Cancelled: {phase}": "已取消：{phase}",
  "Stopped: {phase}": "已停止：{phase}",
  Stopped: "已停止",
  "What became of it is not known: ComfyUI has no record of it.": "ComfyUI 中没有此次运行的记录，结果未知。",
  "step {step} of {steps}": "第 {step} 步，共 {steps} 步",
  "{used} used, {predicted} predicted of {free} GB": "已用 {used}，预计 {predicted}，共 {free} GB",
  "On the GPU: the most that was used since denoising began, what weights and a step should take, and what ComfyUI can have.":
    "显存：去噪开始以来的最大用量、权重与单步的预计用量，以及 ComfyUI 可用的总量。",
  "Without a GPU, memory of the whole ComfyUI process: the most since denoising began, what it should take, and what it can have.":
    "没有 GPU 时为整个 ComfyUI 进程的内存：去噪开始以来的最大用量、预计用量，以及可用总量。",
  "{count} tokens": "{count} 个 token",
  "{target} of the result and {references} of references go through every block; a source adds none. {context} of prompt and pictures are attended to.":
    "结果 {target} 个、参考图 {references} 个 token 经过每个模块；源素材不增加 token。另有提示词与图片的 {context} 个 token 参与交叉注意力。",
  full: "完整",
  visual: "视觉",
  unconditional: "无条件",
  uncond: "无条件",
  Notice: "提示",
  "{branch}: runs": "{branch}：运行中",
  "{branch}: ran": "{branch}：已运行",
  "{branch}: does not run": "{branch}：不运行",
  "Guidance {text}. Lit branches run in this step; a scale of 1 or a speed leaves some out.":
    "引导 {text}。亮起的分支在当前步运行；强度为 1 或选择加速时会省略部分分支。",
  "Guidance {text}, visual guidance {visual}. Lit branches run in this step; a scale of 1 or a speed leaves some out.":
    "引导 {text}，视觉引导 {visual}。亮起的分支在当前步运行；强度为 1 或选择加速时会省略部分分支。",
});

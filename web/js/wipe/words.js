// What the wipe says, in Chinese.
// @ts-check
import { addWords } from "../shared/text.js";

addWords("zh", {
  Source: "源",
  Result: "结果",
  "Source and result": "源与结果",
  "Source and result, frame by frame": "源与结果逐帧对比",
  "Source left of the divider, result right of it": "分隔线左侧为源，右侧为结果",
  "Divider between source and result": "源与结果之间的分隔线",
  "{share} % source": "源占 {share} %",
  Frame: "帧",
  "Frame {number} of {count}": "第 {number} 帧，共 {count} 帧",
  Play: "播放",
  Pause: "暂停",
  Loop: "循环",
  "One frame back (,)": "后退一帧 (,)",
  "One frame on (.)": "前进一帧 (.)",
  "Full size": "全屏查看",
  Close: "关闭",
  "Compare source and result": "对比源与结果",
  "Source and result are compared here when the source comes from a Load Video or Load Image node.":
    "源来自“加载视频”或“加载图像”节点时，可在此对比源与结果。",
  "Source and result are compared here when the result goes to a Save Video or Save Image node.":
    "结果接到“保存视频”或“保存图像”节点时，可在此对比源与结果。",
  "After a run, source and result are compared here.": "运行后可在此对比源与结果。",
  "Opening source and result …": "正在打开源与结果……",
  "Show the newer result": "显示更新的结果",
  "{name} is no longer there.": "{name} 已不存在。",
  "This browser cannot show {name}.": "此浏览器无法显示 {name}。",
});

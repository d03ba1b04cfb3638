// What the pre-flight says, in Chinese.
// @ts-check
import { addWords } from "../shared/text.js";
import { CHINESE } from "./chinese.js";

addWords("zh", CHINESE);

addWords("zh", {
  "LoomVideo: check this graph": "LoomVideo：检查此工作流",
  "LoomVideo: worth a look": "LoomVideo：值得注意",
  "{count} warnings about this graph.": "此工作流有 {count} 条警告。",
  Details: "详情",
  "This graph could not be checked.": "无法检查此工作流。",
  "This run would stop": "此次运行会中断",
  "LoomVideo: this graph": "LoomVideo：此工作流",
  "Errors: {errors}. Warnings: {warnings}.": "错误：{errors}。警告：{warnings}。",
  Error: "错误",
  Warning: "警告",
  Good: "正常",
  Command: "命令",
  "Set {what}": "设为 {what}",
  "Show the node": "显示节点",
  "Copy the command": "复制命令",
  "Checking again …": "正在重新检查……",
  "Copied.": "已复制。",
  "This browser does not let it be copied.": "浏览器不允许复制。",
  "Run anyway": "仍然运行",
  Run: "运行",
  Cancel: "取消",
  Close: "关闭",
  "Copy report": "复制报告",
});

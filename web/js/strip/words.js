// What the strip says, in Chinese.
// @ts-check
import { addWords } from "../shared/text.js";

addWords("zh", {
  "References in the order of their numbers": "参考图，按编号排列",
  "Alt and an arrow key move it; Enter or the space bar picks it up, and arrow keys alone move it then.":
    "Alt 加方向键移动；按回车或空格拿起后，只按方向键即可移动。",
  "Connect a picture to image_1: the prompt names it @Image 1.": "把图片接到 image_1，提示词里写作 @Image 1。",
  "time {time}": "时间 {time}",
  Earlier: "前移",
  Later: "后移",
  Off: "未启用",
  "Muted or bypassed: the slot is empty in a run.": "已静音或绕过：运行时这个插槽为空。",
  "No picture before it has run.": "运行之前没有图片。",
  "No picture here: it depends on what is outside of this subgraph.": "这里没有图片：它取决于子图之外的内容。",
  "This file cannot be shown.": "无法显示这个文件。",
  "Transparency is left out by the loader: the colours below it are used.": "加载节点会丢弃透明度，使用透明处底下的颜色。",
  "For white instead, connect both outputs of the loader to Join Image with Alpha, and that to this slot.":
    "想要垫白色，请把加载节点的两个输出接到“合并图像与 Alpha”，再接到这个插槽。",
  "Smaller than {width} × {height}: enlarged {times} times.": "小于 {width} × {height}，会放大 {times} 倍。",
  "{percent} % is cut off, left and right.": "左右两侧会裁掉 {percent} %。",
  "{percent} % is cut off, top and bottom.": "上下两侧会裁掉 {percent} %。",
  "contain keeps the whole picture, with black bars.": "选 contain 可保留整张图，并加黑边。",
  "May hold several pictures: numbers from here on are known after a run.": "可能含有多张图，从这里起的编号要运行后才知道。",
  "May hold several pictures: numbers from here on are not known inside this subgraph.":
    "可能含有多张图，在子图之内无法得知从这里起的编号。",
  "{count} pictures, each a reference of its own.": "共 {count} 张图，每张各算一张参考图。",
  "{slots} is empty: connect a picture, since numbers count the slots.": "{slots} 为空：编号按插槽计算，请接上图片。",
  "temporal_indices does not fit: it needs one number below 0 for each reference, none twice.":
    "时间索引不符：每张参考图需要一个小于 0 的整数，且不能重复。",
  "Not moved: {name} may hold several pictures, so the numbers from there on are not known. Run the graph once, or set batch to one reference of many frames.":
    "没有移动：{name} 可能含有多张图，从那里起的编号未知。请先运行一次，或把批次用法设为 one reference of many frames。",
  "Not moved: {name} may hold several pictures, so the numbers from there on are not known inside this subgraph. Set batch to one reference of many frames on this node.":
    "没有移动：{name} 可能含有多张图，在子图之内无法得知从那里起的编号。请在本节点把批次用法设为 one reference of many frames。",
  "nodes outside of this subgraph": "子图之外的节点",
  "{name} is now {label}.": "{name} 现在是 {label}。",
  "The mentions in the prompt follow it.": "提示词里的编号已随之更改。",
  "Not changed: the prompt of {nodes}. Change its numbers yourself.": "未更改：{nodes} 的提示词，请自行修改其中的编号。",
});

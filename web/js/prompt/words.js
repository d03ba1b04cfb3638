// What the prompt editor says in Chinese.
// @ts-check
import { addWords } from "../shared/text.js";

addWords("zh", {
  Prompt: "提示词",
  References: "参考图",
  "What to make, or what to change. Type @ to name a reference.": "要生成什么，或要改什么。输入 @ 可以指定参考图。",
  "The prompt comes from “{title}”.": "提示词来自“{title}”。",
  "The prompt comes from outside of this subgraph.": "提示词来自子图之外。",
  "No reference is connected. Connect LoomVideo Reference Slots to “references” to name its pictures here.":
    "还没有连接参考图。把“LoomVideo 参考图插槽”接到“参考图”，就可以在这里指定其中的图片。",
  "Which references there are is known when the graph runs. Write @Image 1 for the first.":
    "运行时才知道有哪些参考图。第一张写作 @Image 1。",
  "@Image {number} has no reference": "@Image {number} 没有对应的参考图",
  "no reference": "没有参考图",
  "{mentions} has no reference": "{mentions} 没有对应的参考图",
  "{mentions} have no reference": "{mentions} 没有对应的参考图",
  "{mentions} is never mentioned": "提示词没有提到 {mentions}",
  "{mentions} are never mentioned": "提示词没有提到 {mentions}",
  Remove: "移除",
  Mention: "加入",
});

// What the memory plan says in Chinese.
// @ts-check
import { addWords } from "../shared/text.js";

addWords("zh", {
  "Memory plan": "显存规划",
  "After a run, what each phase takes stands here.": "运行后，这里显示各阶段的用量。",
});

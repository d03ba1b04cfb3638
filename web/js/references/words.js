// What is said of references, in Chinese.
// @ts-check
import { addWords } from "../shared/text.js";

addWords("zh", {
  "From outside of this subgraph": "来自子图之外",
});

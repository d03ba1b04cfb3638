// What several panels say, in Chinese.
// @ts-check
import { addWords } from "./text.js";

addWords("zh", {
  "This file is not in ComfyUI's {folder} folder: upload it again or choose another.":
    "ComfyUI 的 {folder} 文件夹中没有这个文件：请重新上传，或选择其他文件。",
});

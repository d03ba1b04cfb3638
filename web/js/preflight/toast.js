// Warnings, told in the corner while the run goes on.
// @ts-check
import { app } from "../../../../scripts/app.js";
import { make } from "../shared/element.js";
import { say } from "../shared/text.js";

const CLASS = "loom-toast";
const LIFE = 10_000;

/**
 * Tell in a toast of ComfyUI's.
 *
 * @param {{severity: "warn" | "error", summary: string, detail: string}} message
 * @param {() => void} [onDetails] What the button "Details" does.
 */
export function tell({ severity, summary, detail }, onDetails) {
  const toast = /** @type {any} */ (app.extensionManager.toast);
  const show = severity === "error" ? toast.error : toast.warning;
  if (show) {
    // newer frontends know buttons
    const open = () => {
      toast.dismiss?.(id);
      onDetails?.();
    };
    const id = show(summary, { description: detail, duration: LIFE, action: onDetails && { label: say("Details"), onClick: open } });
    return;
  }
  toast.add({ severity, summary, detail, life: LIFE, styleClass: CLASS });
  if (onDetails) addButton(onDetails);
}

/**
 * A button in the toast of an older frontend, whose element is found by the class that a message may have. Should it not be found,
 * the same stands behind the command.
 *
 * @param {() => void} onDetails
 */
function addButton(onDetails) {
  const observer = new MutationObserver(put);
  const stop = setTimeout(() => observer.disconnect(), 2000);
  observer.observe(document.body, { childList: true, subtree: true });
  put();

  function put() {
    const toast = [...document.querySelectorAll(`.${CLASS}`)].find((each) => !each.querySelector(".loom-button"));
    if (!toast) return;
    clearTimeout(stop);
    observer.disconnect();
    const details = make("button.loom-button", { type: "button", onclick: open }, say("Details"));
    (toast.querySelector(".p-toast-message-text") ?? toast).append(details);

    function open() {
      /** @type {HTMLElement | null | undefined} */ (toast?.querySelector(".p-toast-close-button"))?.click();
      onDetails();
    }
  }
}

// What is moved by pointer or keys: one step of undo for each drag and for each key.
// @ts-check

/**
 * @typedef {object} Moves
 * @property {() => any} begin What the drag began with; handed to the others.
 * @property {(at: {x: number, y: number, dx: number, dy: number}, began: any) => void} move Shares of the area, 0 to 1 where within;
 *     dx and dy from where the drag began.
 * @property {(began: any) => void} undo Puts it back, on Escape.
 * @property {() => void} done Makes it a step of undo.
 */

/**
 * Let an element be dragged over an area.
 *
 * @param {HTMLElement} element
 * @param {HTMLElement} area
 * @param {Moves} moves
 */
export function draggable(element, area, moves) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || element.getAttribute("aria-disabled") === "true") return;
    event.preventDefault();
    event.stopPropagation();
    if (element.tabIndex >= 0) element.focus({ preventScroll: true });
    startDrag(event, element, area, moves);
  });
}

/** Follow a pointer that is down. @param {PointerEvent} event @param {HTMLElement} element @param {HTMLElement} area @param {Moves} moves */
export function startDrag(event, element, area, moves) {
  const began = moves.begin();
  const from = share(event, area);
  element.setPointerCapture(event.pointerId);
  const watching = new AbortController();
  const { signal } = watching;
  element.addEventListener(
    "pointermove",
    (moved) => {
      const at = share(moved, area);
      moves.move({ ...at, dx: at.x - from.x, dy: at.y - from.y }, began);
    },
    { signal },
  );
  const end = () => {
    watching.abort();
    moves.done();
  };
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) element.addEventListener(kind, end, { signal });
  addEventListener(
    "keydown",
    (key) => {
      if (key.key !== "Escape") return;
      key.stopPropagation();
      moves.undo(began);
      end();
    },
    { signal, capture: true },
  );
}

/** @param {PointerEvent} event @param {HTMLElement} area */
export function share(event, area) {
  const box = area.getBoundingClientRect();
  return { x: (event.clientX - box.left) / (box.width || 1), y: (event.clientY - box.top) / (box.height || 1) };
}

/**
 * Let keys move an element; what they do is no command to the canvas.
 *
 * @param {HTMLElement} element
 * @param {Record<string, (event: KeyboardEvent) => void>} keys
 */
export function keyed(element, keys) {
  element.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (element.getAttribute("aria-disabled") !== "true") act(event);
  });
}

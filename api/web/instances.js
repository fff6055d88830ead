// "Products in this picture": boxes over the picture, found by the server, moved, drawn or removed by the person; the
// hits of the chosen box beside it. The merged list is the page's own list of results.

import { searchInstances } from "./api.js";
import { $, debounce, el } from "./dom.js";
import { row } from "./results.js";

const HITS = 8;
const DRAG = 6; // pixels before a press becomes a drawing
const SMALLEST = 4; // pixels of the picture

// `boxes` as shown, in pixels of the picture as it is seen; `own`: the person changed them, so the server keeps them.
const view = { picture: null, size: [0, 0], boxes: [], own: false, instances: [], chosen: 0 };
let actions = null;

export function forgetInstances() {
  Object.assign(view, { picture: null, boxes: [], own: false, instances: [], chosen: 0 });
  $("instances").hidden = true;
  const old = $("stage-picture").src;
  if (old) URL.revokeObjectURL(old);
  $("stage-picture").removeAttribute("src");
}

/** Ask the server, draw boxes and hits; gives the reply, whose merged list the page shows. */
export async function findInstances(request, picture, wired, options) {
  actions = wired;
  if (view.picture !== picture) {
    forgetInstances();
    view.picture = picture;
    $("stage-picture").src = URL.createObjectURL(picture);
    await $("stage-picture").decode().catch(() => {}); // what the browser cannot show, the server may still read
    view.size = [$("stage-picture").naturalWidth, $("stage-picture").naturalHeight];
  }
  $("instances").hidden = false;
  const body = { ...request, k: HITS };
  if (view.own && view.boxes.length) body.boxes = view.boxes;
  let reply;
  try {
    reply = await searchInstances(body, picture, options);
  } catch (error) {
    if (error.name !== "AbortError") {
      view.instances = [];
      draw();
      say(view.boxes.length ? "" : "Draw a box around a product.");
    }
    throw error;
  }
  view.size = [reply.width, reply.height];
  view.boxes = reply.instances.map((instance) => instance.box);
  view.instances = reply.instances;
  view.chosen = Math.min(view.chosen, view.boxes.length - 1);
  draw();
  return reply;
}

const title = (at) => view.instances[at]?.hits[0]?.product.title || "nothing found";
const say = (text) => $("instance").replaceChildren(el("p", {}, text));

/** Boxes as buttons, so that a keyboard reaches them; the smaller ones lie on top. */
function draw() {
  const focused = document.activeElement?.dataset?.at;
  const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
  const order = [...view.boxes.keys()].sort((a, b) => area(view.boxes[b]) - area(view.boxes[a]));
  const buttons = view.boxes.map((box, at) => {
    const button = el("button", {
      type: "button", className: "box", "data-at": at, "aria-pressed": String(at === view.chosen),
      "aria-label": `Product ${at + 1}: ${title(at)}`, "aria-describedby": "box-keys", title: title(at),
      onclick: () => choose(at), onkeydown: (event) => keys(event, at),
    }, el("span", {}, `${at + 1}`));
    place(button, box);
    button.style.zIndex = order.indexOf(at) + 1;
    return button;
  });
  $("boxes").replaceChildren(...buttons);
  if (focused !== undefined) buttons[Math.min(focused, buttons.length - 1)]?.focus();
  if (view.instances.length) describe();
}

function place(node, [x1, y1, x2, y2]) {
  const [width, height] = view.size;
  Object.assign(node.style, {
    left: `${(100 * x1) / width}%`, top: `${(100 * y1) / height}%`,
    width: `${(100 * (x2 - x1)) / width}%`, height: `${(100 * (y2 - y1)) / height}%`,
  });
}

export function choose(at) {
  view.chosen = at;
  for (const button of $("boxes").children) button.setAttribute("aria-pressed", String(Number(button.dataset.at) === at));
  describe();
}

/** The hits of the chosen box. */
function describe() {
  const instance = view.instances[view.chosen];
  if (!instance) return;
  const sure = instance.score === null ? "your box" : `found with ${Math.round(100 * instance.score)} %`;
  $("instance").replaceChildren(
    el("h2", {}, `Product ${view.chosen + 1}`, el("span", {}, ` of ${view.instances.length} · ${sure}`)),
    instance.hits.length ? el("ol", {}, instance.hits.map((hit) => row(hit, actions))) : el("p", {}, "Nothing found. Try fewer filters."),
    el("button", { type: "button", className: "link", onclick: () => remove(view.chosen) }, "Remove this box"));
}

const askAgain = debounce(400, () => actions.again());

function change(boxes) {
  view.boxes = boxes;
  view.own = true;
  view.instances = [];
  draw();
  askAgain();
}

function remove(at) {
  const left = view.boxes.filter((_, other) => other !== at);
  if (left.length) change(left);
}

const inside = (value, most) => Math.max(0, Math.min(most, value));

/** Arrows move a box, with Shift its lower right corner; Delete removes it. */
function keys(event, at) {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (event.key === "Delete") remove(at);
  const way = ways[event.key];
  if (!way) return;
  event.preventDefault();
  const [width, height] = view.size;
  const [dx, dy] = [way[0] * Math.max(1, width / 50), way[1] * Math.max(1, height / 50)];
  const [x1, y1, x2, y2] = view.boxes[at];
  const kept = event.shiftKey
    ? [x1, y1, Math.max(x1 + SMALLEST, inside(x2 + dx, width)), Math.max(y1 + SMALLEST, inside(y2 + dy, height))]
    : [...shifted(x1, x2, dx, width), ...shifted(y1, y2, dy, height)];
  const box = event.shiftKey ? kept : [kept[0], kept[2], kept[1], kept[3]];
  view.chosen = at;
  change(view.boxes.map((other, place) => (place === at ? box : other)));
}

function shifted(low, high, by, most) {
  const moved = inside(low + by, most - (high - low));
  return [moved, moved + high - low];
}

/** A box of one's own: added to those that are there, and chosen. */
function add(box) {
  view.chosen = view.boxes.length;
  change([...view.boxes, box]);
}

function drawing(on) {
  $("stage").classList.toggle("drawing", on);
  $("draw").setAttribute("aria-pressed", String(on));
}

/** A mouse draws at any time; a finger scrolls the page unless drawing is switched on. */
function press(event) {
  const on = $("stage").classList.contains("drawing");
  if (event.button !== 0 || !view.size[0] || (event.pointerType === "touch" && !on)) return;
  const frame = $("stage").getBoundingClientRect();
  const at = (moved) => [
    inside(((moved.clientX - frame.left) / frame.width) * view.size[0], view.size[0]),
    inside(((moved.clientY - frame.top) / frame.height) * view.size[1], view.size[1]),
  ];
  const [x, y] = at(event);
  let sketch = null;
  let box = null;
  const move = (moved) => {
    if (moved.pointerId !== event.pointerId) return;
    if (!sketch && Math.hypot(moved.clientX - event.clientX, moved.clientY - event.clientY) < DRAG) return;
    if (!sketch) {
      sketch = el("div", { className: "sketch" });
      $("boxes").append(sketch);
    }
    const [u, v] = at(moved);
    box = [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)];
    place(sketch, box);
  };
  const end = (moved) => {
    if (moved.pointerId !== event.pointerId) return;
    for (const [name, work] of [["pointermove", move], ["pointerup", end], ["pointercancel", end]]) removeEventListener(name, work);
    if (!sketch) return;
    sketch.remove();
    drawing(false);
    // The click that follows belongs to the drawing, not to the box under it.
    const swallow = (click) => { click.stopPropagation(); click.preventDefault(); };
    addEventListener("click", swallow, { capture: true, once: true });
    setTimeout(() => removeEventListener("click", swallow, { capture: true }), 0);
    if (moved.type === "pointerup" && box[2] - box[0] >= SMALLEST && box[3] - box[1] >= SMALLEST) add(box);
  };
  for (const [name, work] of [["pointermove", move], ["pointerup", end], ["pointercancel", end]]) addEventListener(name, work);
}

$("stage").addEventListener("pointerdown", press);
$("draw").addEventListener("click", (event) => {
  if (event.detail) { // a pointer: the box is drawn next
    drawing(!$("stage").classList.contains("drawing"));
  } else { // a keyboard: a box in the middle, for the arrows
    const [width, height] = view.size;
    add([width / 4, height / 4, (3 * width) / 4, (3 * height) / 4]);
    $("boxes").lastElementChild.focus();
  }
});
$("find").addEventListener("click", () => {
  Object.assign(view, { own: false, boxes: [], chosen: 0 });
  actions.again();
});

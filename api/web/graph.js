// An entity and what is similar to it, drawn as a graph that one can walk: a node leads on, its products are one step
// away. The list beside it says the same in words.

import { get } from "./api.js";
import { $, el, svg } from "./dom.js";
import { layout } from "./layout.js";

const WIDTH = 640;
const HEIGHT = 460;
const SIDE = { x: 74, y: 34 };
const COLOURS = 6; // styles .kind-0 … .kind-5
const LABEL = 20;
const SOURCES = { text: "similar words", cooccurrence: "found together", visual: "look alike" };

const asked = { hops: 1, least: 0 };
let latest = 0; // who walks fast sees where the last step led
const entityPath = (key) => `/v1/entities/${encodeURIComponent(key)}/neighbourhood`;
const short = (text) => ([...text].length > LABEL ? `${[...text].slice(0, LABEL - 1).join("")}…` : text);
const products = (df) => `${df.toLocaleString()} ${df === 1 ? "product" : "products"}`;

/** How far the words of an entity are from what its products look like, where a training has found it out. */
function confounding(node) {
  if (typeof node.confounding !== "number") return "";
  return `confounding ${node.confounding.toFixed(2)}${node.chosen ? ", chosen" : ""}`;
}

/** Each type of entity has a colour of its own, the same in every picture. */
function kind(type) {
  let sum = 0;
  for (const letter of type) sum = (31 * sum + letter.codePointAt(0)) % 9973;
  return `kind-${sum % COLOURS}`;
}

function line(edge, from, to, offset) {
  const x = (from.x + to.x) / 2 - offset * (to.y - from.y);
  const y = (from.y + to.y) / 2 + offset * (to.x - from.x);
  const path = svg("path", {
    class: `edge origin-${edge.origin in SOURCES ? edge.origin : "text"}`,
    d: `M${from.x} ${from.y}Q${x} ${y} ${to.x} ${to.y}`,
    "stroke-width": (1 + 3 * edge.weight).toFixed(1),
  });
  path.append(svg("title", {}, `${edge.source} – ${edge.target}: ${edge.weight.toFixed(2)} ${edge.origin}`));
  return path;
}

function dot(node, point, walk, own) {
  const radius = 7 + Math.min(11, 2.4 * Math.log2(1 + node.df));
  const said = confounding(node) && `; ${confounding(node)}`;
  const group = svg("g", {
    class: `node ${kind(node.type)}${own ? " own" : ""}`,
    transform: `translate(${point.x} ${point.y})`,
    role: "button", tabindex: "0", "data-key": node.key,
    "aria-label": `${node.type} ${node.text}, ${products(node.df)}${own ? "" : `, strength ${node.strength.toFixed(2)}`}${said}`,
  }, svg("title", {}, `${node.key}: ${products(node.df)}${said}`), svg("circle", { r: radius }),
  ...(node.chosen ? [svg("circle", { r: radius + 4, class: "chosen" })] : []),
  svg("text", { y: radius + 13 }, short(node.text)));
  group.addEventListener("click", () => walk(node.key));
  group.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    walk(node.key);
  });
  return group;
}

/** The picture: edges below nodes; edges of one pair lie side by side. */
function drawing({ key, nodes, edges }, walk) {
  const points = new Map(layout(nodes, edges).map((point, index) => [nodes[index].key, {
    x: Math.round(SIDE.x + point.x * (WIDTH - 2 * SIDE.x)), y: Math.round(SIDE.y + point.y * (HEIGHT - 2 * SIDE.y)),
  }]));
  const beside = new Map();
  const lines = edges.filter((edge) => edge.source !== edge.target).map((edge) => {
    const pair = JSON.stringify([edge.source, edge.target].sort());
    const nth = beside.get(pair) || 0;
    beside.set(pair, nth + 1);
    return line(edge, points.get(edge.source), points.get(edge.target), nth * 0.14);
  });
  const dots = nodes.map((node) => dot(node, points.get(node.key), walk, node.key === key)).reverse();
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "graph", role: "group", "aria-label": `Entities around ${key}` },
    ...lines, ...dots);
}

function legend({ nodes, edges }) {
  const kinds = [...new Set(nodes.map((node) => node.type))].sort();
  const origins = Object.keys(SOURCES).filter((name) => edges.some((edge) => edge.origin === name));
  const sample = (name) => svg("svg", { viewBox: "0 0 30 8", class: "sample", "aria-hidden": "true" },
    svg("path", { class: `edge origin-${name}`, d: "M0 4H30", "stroke-width": "2.5" }));
  const ring = svg("svg", { viewBox: "0 0 12 12", class: "ring", "aria-hidden": "true" }, svg("circle", { class: "chosen", cx: "6", cy: "6", r: "5" }));
  return el("ul", { className: "legend" },
    kinds.map((type) => el("li", {}, el("span", { className: `swatch ${kind(type)}`, "aria-hidden": "true" }), type)),
    origins.map((name) => el("li", {}, sample(name), SOURCES[name])),
    nodes.some((node) => node.chosen) ? el("li", {}, ring, "has a vector of its own") : "");
}

/** What the picture says, in words: one line an entity, with the edges that lead to it from the middle. */
function rows({ key, nodes, edges }, walk) {
  const said = (node) => edges.filter((edge) => [edge.source, edge.target].includes(key) && [edge.source, edge.target].includes(node.key))
    .map((edge) => `${edge.weight.toFixed(2)} ${SOURCES[edge.origin] || edge.origin}`).join(", ") || `${node.hops} steps, ${node.strength.toFixed(2)}`;
  return nodes.filter((node) => node.key !== key).map((node) => el("tr", {},
    el("th", { scope: "row" }, el("button", { type: "button", className: "link", onclick: () => walk(node.key) }, node.text), el("span", { className: "type" }, ` ${node.type}`)),
    el("td", { className: "confounding" }, confounding(node)),
    el("td", {}, said(node)), el("td", {}, products(node.df))));
}

function control(label, values, name, again) {
  const select = el("select", { onchange: () => { asked[name] = Number(select.value); again(); } },
    values.map(([value, text]) => el("option", { value: String(value), selected: asked[name] === value }, text)));
  return el("label", {}, label, " ", select);
}

export async function openEntity(key, actions) {
  const dialog = $("entity");
  latest += 1;
  const turn = latest;
  const query = new URLSearchParams({ hops: asked.hops, min_weight: asked.least, limit: 40 });
  const close = el("button", { type: "button", className: "close", "aria-label": "Close", onclick: () => dialog.close() }, "×");
  let reply;
  try {
    reply = await get(`${entityPath(key)}?${query}`);
  } catch (error) {
    dialog.replaceChildren(close, el("h2", {}, error.message), error.hint ? el("p", {}, error.hint) : "");
    if (!dialog.open) dialog.showModal();
    return;
  }
  if (turn !== latest) return;
  const [own] = reply.nodes;
  const walk = (next) => { if (next !== key) actions.walk(next); };
  const again = () => openEntity(key, actions);
  const leave = (work) => () => { dialog.close(); work(); };
  const found = rows(reply, walk);
  dialog.replaceChildren(
    close,
    el("p", { className: "over" }, own.type),
    el("h2", { tabIndex: -1 }, own.text),
    confounding(own) ? el("p", { className: "confounding" }, `${confounding(own)}: ${own.chosen
      ? "the encoder gives it a vector of its own"
      : "the encoder reads its words alone"}`) : "",
    el("p", { className: "actions" },
      el("button", { type: "button", className: "primary", onclick: leave(() => actions.entity(key)) }, `Show its ${products(own.df)}`),
      el("button", { type: "button", className: "link", onclick: leave(() => actions.near(key)) }, "and those of its neighbours")),
    el("p", { className: "controls" },
      control("within", [[1, "1 step"], [2, "2 steps"], [3, "3 steps"]], "hops", again),
      control("edges from", [[0, "any weight"], [0.5, "0.5"], [0.7, "0.7"], [0.9, "0.9"]], "least", again)),
    drawing(reply, walk), legend(reply),
    found.length
      ? el("table", {}, el("tbody", {}, found))
      : el("p", { className: "none" }, "Nothing is similar to it yet. ", el("code", {}, "skugraph relate"), " computes what is."));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  dialog.querySelector("h2").focus();
}

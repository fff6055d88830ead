// Result cards: picture with the matched box, price, reason, and how the hit was found.

import { productPath, show } from "./api.js";
import { $, el, money, svg } from "./dom.js";
import { label } from "./facets.js";

/** A picture with the matched region lit: the SVG scales exactly as `object-fit: contain` scales the picture. */
export function picture(path, alt, match) {
  const image = el("img", { alt, loading: "lazy", decoding: "async" });
  const frame = el("div", { className: "picture" }, image);
  image.addEventListener("error", () => frame.replaceChildren(el("span", { className: "none" }, "picture not readable")));
  show(image, path).catch(() => image.dispatchEvent(new Event("error")));
  if (match && match.box && match.width && match.height) {
    const [x1, y1, x2, y2] = match.box;
    const { width, height } = match;
    const hole = `M0 0H${width}V${height}H0ZM${x1} ${y1}V${y2}H${x2}V${y1}Z`;
    frame.append(svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-label": "the region that matched", role: "img" },
      svg("path", { class: "shade", d: hole, "fill-rule": "evenodd" }),
      svg("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1 })));
  }
  return frame;
}

function priceLine({ product, offer }) {
  const own = money(product.price, product.currency);
  const parts = [own ? el("strong", {}, own) : el("span", { className: "seller" }, "no price")];
  if (offer && offer.product_id !== product.id && offer.price < product.price) {
    parts.push(el("span", { className: "offer" }, `${money(offer.price, offer.currency)} at ${offer.seller || offer.product_id}`));
  } else if (product.seller) {
    parts.push(el("span", { className: "seller" }, product.seller));
  }
  return el("p", { className: "price" }, parts);
}

const number = (value) => (Math.abs(value) < 1 ? value.toFixed(3) : value.toFixed(2));

/** Where a step leads: the words that were asked, or an entity whose neighbours can be looked at. */
function reached(step, actions) {
  if (step.relation === "ASKED") return `“${step.target}”`;
  return el("button", { type: "button", className: "link", title: `Entities around ${step.target}`, onclick: () => actions.walk(step.target) }, label(step.target));
}

function weighed(step) {
  const known = [step.weight === null || step.weight === undefined ? "" : step.weight.toFixed(2), step.origin || ""].filter(Boolean);
  return known.length ? ` (${known.join(" ")})` : "";
}

/** Why it is here: scores and ranks of each list, and the graph path. */
function details(hit, actions) {
  const lists = Object.keys(hit.ranks);
  if (!lists.length && !hit.path.length) return null;
  const rows = lists.map((list) => el("tr", {},
    el("th", { scope: "row" }, list), el("td", {}, `#${hit.ranks[list]}`), el("td", {}, number(hit.scores[list]))));
  const path = hit.path.map((step) => el("li", {},
    el("span", { className: "relation" }, step.relation.toLowerCase().replaceAll("_", " ")),
    " ", reached(step, actions), weighed(step)));
  return el("details", {}, el("summary", {}, "How it was found"),
    rows.length ? el("table", {}, el("tbody", {}, rows)) : null,
    path.length ? el("ul", { className: "path" }, path) : null);
}

/** The picture that matched, its box lit; else the first one of the product. */
function matched({ product, match }, width) {
  const seen = match && match.kind === "image" ? match : null;
  const number = seen ? seen.instance_id.match(/#img(\d+)/)[1] : null; // a region's id goes on with its box
  const path = number ? `${productPath(product.id)}/pictures/${number}?width=${width}` : `${productPath(product.id)}/picture?width=${width}`;
  return number || product.picture
    ? picture(path, product.title, seen)
    : el("div", { className: "picture" }, el("span", { className: "none" }, "no picture"));
}

/** One line of the hits of one box. */
export function row(hit, actions) {
  const { product } = hit;
  return el("li", {}, el("button", { type: "button", className: "row", onclick: () => actions.open(product.id) },
    matched(hit, 160),
    el("span", { className: "what" }, el("strong", {}, product.title), el("span", {}, [money(product.price, product.currency), product.seller].filter(Boolean).join(" · ")), el("span", {}, hit.reason))));
}

function card(hit, actions) {
  const { product } = hit;
  const open = () => actions.open(product.id);
  const shown = matched(hit, 480);
  const won = hit.instance
    ? el("button", { type: "button", className: "badge", "aria-label": `Product ${hit.instance} of the picture`, onclick: () => actions.instance(hit.instance) }, `${hit.instance}`)
    : null;
  return el("li", { className: "card" },
    el("button", { type: "button", className: "open", "aria-label": `${product.title}: details and offers`, onclick: open }, shown),
    won,
    el("div", { className: "body" },
      el("p", { className: "over" }, [product.brand, product.category.at(-1)].filter(Boolean).join(" · ")),
      el("h3", {}, el("button", { type: "button", className: "title", onclick: open }, product.title)),
      priceLine(hit),
      hit.reason ? el("p", { className: "reason" }, hit.reason) : null,
      details(hit, actions),
      el("button", { type: "button", className: "link like", onclick: () => actions.like(product.id) }, "More like this")));
}

export function drawHits(reply, actions) {
  $("hits").replaceChildren(...reply.hits.map((hit) => card(hit, actions)));
}

export function drawWaiting() {
  const bone = () => el("li", { className: "card bone", "aria-hidden": "true" }, el("div", { className: "picture" }), el("div", { className: "body" }, el("p"), el("p")));
  $("hits").replaceChildren(...Array.from({ length: 8 }, bone));
}

/** One quiet line about how the answer came to be. */
export function statusLine(reply, seconds) {
  const found = reply.instances
    ? [reply.instances.length, "product in the picture", "products in the picture"]
    : [reply.returned, "result", "results"];
  const parts = [`${found[0].toLocaleString()} ${found[0] === 1 ? found[1] : found[2]}`];
  parts.push(seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`);
  parts.push(`plan ${reply.plan}${reply.exact ? ", exact" : ""}`);
  if (reply.stale) parts.push(`${reply.stale.toLocaleString()} changes not yet embedded`);
  return parts.join(" · ");
}

// Facets with counts, and the chips of what is switched on.

import { get, post } from "./api.js";
import { $, debounce, el } from "./dom.js";
import { filters, state, toggle } from "./state.js";

const SHOWN = 10;
const expanded = new Set();

/** Counts of one field come without its own filter: several values of it can be chosen. */
export async function refreshFacets(onChange, signal) {
  const [brands, categories] = await Promise.all(
    ["brand", "category"].map((name) => post("/v1/facets", { filters: filters(name) }, { signal })),
  );
  draw("brand", brands.brand, onChange);
  draw("category", categories.category, onChange);
  return { brand: brands.brand, category: categories.category };
}

/** The flat list of category counts in the order of the tree; of what is closed only the top is there. */
function opened(values) {
  const parent = (key) => (key.includes(" > ") ? key.slice(0, key.lastIndexOf(" > ")) : "");
  const below = Map.groupBy(values, (value) => parent(value.key));
  const open = (key) => state.category.some((chosen) => chosen === key || chosen.startsWith(`${key} > `));
  const walk = (key) => (below.get(key) || []).sort((a, b) => b.count - a.count)
    .flatMap((value) => [value, ...(open(value.key) || below.get(key).length === 1 ? walk(value.key) : [])]);
  return walk("");
}

function draw(name, values, onChange) {
  const chosen = new Set(state[name]);
  const known = new Set(values.map((value) => value.key));
  const missing = state[name].filter((key) => !known.has(key)).map((key) => ({ key, text: label(key), count: 0 }));
  const all = [...missing, ...(name === "category" ? opened(values) : values)];
  const short = expanded.has(name) ? all : all.filter((value, at) => at < SHOWN || chosen.has(value.key));
  const rows = short.map((value) => {
    const depth = name === "category" ? value.key.split(" > ").length - 1 : 0;
    const box = el("input", {
      type: "checkbox",
      checked: chosen.has(value.key),
      onchange: () => { toggle(name, value.key); onChange(); },
    });
    const text = el("span", { className: "name" }, value.text);
    return el("li", { className: `depth-${Math.min(depth, 3)}` },
      el("label", {}, box, text, el("span", { className: "count" }, value.count.toLocaleString())));
  });
  if (all.length > short.length || expanded.has(name)) {
    const text = expanded.has(name) ? "Show fewer" : `Show all ${all.length}`;
    const flip = () => { if (!expanded.delete(name)) expanded.add(name); draw(name, values, onChange); };
    rows.push(el("li", {}, el("button", { type: "button", className: "link", onclick: flip }, text)));
  }
  $(name).replaceChildren(...rows);
  $(name).parentElement.hidden = all.length === 0;
}

/** What people read of an entity key: the part after its type. */
export const label = (key) => key.slice(key.indexOf(":") + 1);

export function drawChips(onChange, onClear, walk) {
  const chip = (text, remove) => el("li", {}, el("button", {
    type: "button", "aria-label": `Remove ${text}`, onclick: () => { remove(); onChange(); },
  }, text, el("span", { "aria-hidden": "true" }, "×")));
  const chips = [];
  for (const name of ["category", "brand", "entity", "near"]) {
    for (const key of state[name]) {
      const text = name === "near" ? `near ${key}, ${state.hops} ${state.hops === 1 ? "hop" : "hops"}` : name === "entity" ? key : label(key);
      chips.push(chip(text, () => toggle(name, key)));
      if (name === "entity") chips.push(el("li", {}, el("button", { type: "button", className: "link", onclick: () => walk(key) }, `around ${label(key)}`)));
    }
  }
  if (state.minPrice) chips.push(chip(`from ${state.minPrice}`, () => { state.minPrice = ""; }));
  if (state.maxPrice) chips.push(chip(`up to ${state.maxPrice}`, () => { state.maxPrice = ""; }));
  if (state.graph && state.text) chips.push(chip(`graph: ${state.graph}`, () => { state.graph = ""; }));
  if (state.like) chips.push(chip(`like ${state.like}`, () => { state.like = ""; }));
  if (chips.length > 1) {
    chips.push(el("li", {}, el("button", { type: "button", className: "link", onclick: onClear }, "Clear all")));
  }
  $("chips").replaceChildren(...chips);
}

/** Suggestions for the entity to be near to, as it is typed. */
export const suggestEntities = debounce(150, async (text) => {
  const words = new URLSearchParams({ query: text.replace(":", " "), limit: 12 });
  const { entities } = await get(`/v1/entities?${words}`);
  const option = (entity) => el("option", { value: entity.key }, `${entity.df} products`);
  $("near-list").replaceChildren(...entities.map(option));
});

// What is being asked for. Everything but the picture lives in the address, so that a search can be shared and gone
// back to.

const LISTS = ["brand", "category", "entity", "near"];
const PAGE = 24;

export const state = { text: "", like: "", picture: null, inside: false, k: PAGE, hops: 1, graph: "", minPrice: "", maxPrice: "" };
for (const name of LISTS) state[name] = [];

export function readAddress() {
  const params = new URLSearchParams(location.search);
  state.text = params.get("q") || "";
  state.like = params.get("like") || "";
  for (const name of LISTS) state[name] = params.getAll(name);
  state.hops = Number(params.get("hops") || 1);
  state.graph = ["narrow", "widen"].find((mode) => mode === params.get("graph")) || "";
  state.minPrice = params.get("min") || "";
  state.maxPrice = params.get("max") || "";
  state.k = PAGE;
}

export function writeAddress() {
  const params = new URLSearchParams();
  if (state.text) params.set("q", state.text);
  if (state.like) params.set("like", state.like);
  for (const name of LISTS) for (const value of state[name]) params.append(name, value);
  if (state.near.length && state.hops !== 1) params.set("hops", state.hops);
  if (state.graph && state.text) params.set("graph", state.graph);
  if (state.minPrice) params.set("min", state.minPrice);
  if (state.maxPrice) params.set("max", state.maxPrice);
  const address = params.size ? `?${params}` : location.pathname;
  if (address !== (location.search || location.pathname)) history.pushState(null, "", address);
}

/** The filters, without the fields in `except`. */
export function filters(...except) {
  const found = {};
  for (const name of LISTS) if (state[name].length && !except.includes(name)) found[name] = state[name];
  if (found.near && state.hops !== 1) found.hops = state.hops;
  if (state.minPrice) found.min_price = Number(state.minPrice);
  if (state.maxPrice) found.max_price = Number(state.maxPrice);
  return found;
}

export const asks = () => Boolean(state.text || state.like || state.picture || Object.keys(filters()).length);

export function request() {
  const body = { k: state.k, filters: filters() };
  if (state.text) body.text = state.text;
  if (state.text && state.graph) body.graph = state.graph;
  if (state.like) body.like = state.like;
  return body;
}

/** The part of it that a search by instances takes; how many of each is for the view to say. */
export function instancesRequest() {
  const { filters: asked, text } = request();
  return text ? { filters: asked, text } : { filters: asked };
}

export const moreResults = () => { state.k += PAGE; };
export const firstPage = () => { state.k = PAGE; };

export function toggle(name, value) {
  const at = state[name].indexOf(value);
  if (at < 0) state[name].push(value);
  else state[name].splice(at, 1);
}

export function clear() {
  for (const name of LISTS) state[name] = [];
  Object.assign(state, { minPrice: "", maxPrice: "", hops: 1, graph: "" });
}

// Joins the parts: input in, results out.

import { search } from "./api.js";
import { openDiff } from "./diff.js";
import { $, debounce, el } from "./dom.js";
import { drawChips, refreshFacets, suggestEntities } from "./facets.js";
import { openEntity } from "./graph.js";
import { choose, findInstances, forgetInstances } from "./instances.js";
import { openProduct } from "./product.js";
import { drawHits, drawWaiting, statusLine } from "./results.js";
import { asks, clear, filters, firstPage, instancesRequest, moreResults, readAddress, request, state, writeAddress } from "./state.js";

const PRODUCT = "#product/"; // the product on show is part of the address, so that Back closes it
const ENTITY = "#entity/"; // and so is the entity, so that Back walks back
const DIFF = "#diff/"; // and the two generations that are compared
let running = new AbortController();
let asked = location.search;

const actions = {
  open: (id) => { location.hash = `${PRODUCT}${encodeURIComponent(id)}`; },
  like: (id) => { Object.assign(state, { like: id, text: "" }); setPicture(null); begin(); },
  instance: (number) => { choose(number - 1); $("instances").scrollIntoView({ block: "start", behavior: "smooth" }); },
  again: () => refresh(),
  entity: (key) => { Object.assign(state, { like: "" }); state.entity = [key]; begin(); },
  near: (key) => { Object.assign(state, { like: "" }); state.near = [key]; begin(); },
  walk: (key) => { location.hash = `${ENTITY}${encodeURIComponent(key)}`; },
};

function complain(error) {
  if (error.name === "AbortError") return;
  $("hits").replaceChildren();
  $("more").hidden = true;
  $("status").textContent = "";
  $("message").replaceChildren(el("h2", {}, error.message), error.hint ? el("p", {}, error.hint) : null);
  $("message").hidden = false;
}

/** The search in `state`, or, when nothing is asked for, a look at the whole catalogue. */
async function refresh() {
  asked = location.search;
  running.abort();
  running = new AbortController();
  const { signal } = running;
  drawControls();
  $("message").hidden = true;
  $("more").hidden = true;
  const slow = setTimeout(drawWaiting, 150);
  try {
    const started = performance.now();
    const counting = refreshFacets(begin, signal);
    counting.catch(() => {}); // it is awaited below, unless the search fails before
    const body = request();
    if (!asks()) body.filters = { category: roots((await counting).category) };
    if (!asks() && !body.filters.category.length) {
      clearTimeout(slow);
      welcome();
      return;
    }
    const parts = state.inside && state.picture;
    const reply = parts
      ? await findInstances(instancesRequest(), state.picture, actions, { signal })
      : await search(body, state.picture, { signal });
    if (parts) reply.hits = reply.merged;
    const seconds = (performance.now() - started) / 1000;
    clearTimeout(slow);
    drawHits(reply, actions);
    $("status").textContent = statusLine(reply, seconds);
    note(reply);
    $("more").hidden = parts || reply.returned < reply.requested;
    await counting;
  } catch (error) {
    complain(error);
  } finally {
    clearTimeout(slow);
  }
}

const roots = (categories) => categories.filter((value) => !value.key.includes(" > ")).slice(0, 100).map((value) => value.key);

function welcome() {
  $("hits").replaceChildren();
  $("status").textContent = "";
  $("message").replaceChildren(el("h2", {}, "Nothing is ingested yet"),
    el("p", {}, "Run ", el("code", {}, "skugraph ingest TABLE --images PATH"), " and then ", el("code", {}, "skugraph embed"), ". Or search for something."));
  $("message").hidden = false;
}

function note(reply) {
  const lines = reply.notes.map((text) => el("p", {}, text));
  if (!reply.hits.length) lines.unshift(el("h2", {}, "Nothing found"), el("p", {}, Object.keys(filters()).length ? "Try fewer filters." : "Try other words."));
  $("message").replaceChildren(...lines);
  $("message").hidden = lines.length === 0;
}

function begin() {
  firstPage();
  writeAddress();
  refresh();
}

function drawControls() {
  $("mode").hidden = !state.picture;
  $("mode-whole").setAttribute("aria-pressed", String(!state.inside));
  $("mode-inside").setAttribute("aria-pressed", String(state.inside));
  $("merged-title").hidden = !(state.inside && state.picture);
  if (!(state.inside && state.picture)) $("instances").hidden = true;
  $("text").value = state.text;
  $("min-price").value = state.minPrice;
  $("max-price").value = state.maxPrice;
  $("near").value = state.near[0] || "";
  $("hops").value = state.hops;
  $("graph").value = state.graph;
  drawChips(begin, () => { clear(); state.like = ""; begin(); }, actions.walk);
  const title = state.text || (state.like && `like ${state.like}`) || (state.picture && "by picture");
  document.title = title ? `${title} · skugraph` : "skugraph";
}

function setPicture(file) {
  state.picture = file && file.type.startsWith("image/") ? file : null;
  const picked = $("picked");
  const old = picked.querySelector("img");
  if (old) URL.revokeObjectURL(old.src);
  picked.hidden = !state.picture;
  picked.replaceChildren();
  forgetInstances();
  if (!state.picture) state.inside = false;
  $("file").value = "";
  if (!state.picture) return;
  state.like = "";
  picked.append(el("img", { src: URL.createObjectURL(file), alt: "the picture searched with" }),
    el("button", { type: "button", "aria-label": "Remove the picture", onclick: () => { setPicture(null); begin(); } }, "×"));
}

function takePicture(file) {
  setPicture(file);
  if (state.picture) begin();
}

$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  Object.assign(state, { text: $("text").value.trim(), like: "" });
  begin();
});
$("file").addEventListener("change", () => takePicture($("file").files[0]));
for (const [id, inside] of [["mode-whole", false], ["mode-inside", true]]) {
  $(id).addEventListener("click", () => { state.inside = inside; refresh(); });
}
$("more").addEventListener("click", () => { moreResults(); refresh(); });
for (const [id, name] of [["min-price", "minPrice"], ["max-price", "maxPrice"]]) {
  $(id).addEventListener("change", () => { state[name] = $(id).validity.valid ? $(id).value : ""; begin(); });
}
$("near").addEventListener("input", () => suggestEntities($("near").value));
$("near").addEventListener("focus", () => suggestEntities($("near").value));
$("near").addEventListener("change", () => { state.near = [$("near").value.trim()].filter(Boolean); begin(); });
$("hops").addEventListener("change", () => { state.hops = Number($("hops").value); if (state.near.length) begin(); });

$("graph").addEventListener("change", () => { state.graph = $("graph").value; if (state.text) begin(); });

/** What the address behind # names: a product, an entity and its neighbours, or two generations. */
function showNamed() {
  for (const [dialog, start, open] of [[$("product"), PRODUCT, openProduct], [$("entity"), ENTITY, openEntity], [$("diff"), DIFF, openDiff]]) {
    let name = "";
    try {
      name = location.hash.startsWith(start) ? decodeURIComponent(location.hash.slice(start.length)) : "";
    } catch { /* a % that stands for nothing: no such name */ }
    if (name) open(name, actions).catch(complain);
    else dialog.close();
  }
}
window.addEventListener("hashchange", showNamed);
for (const [dialog, start] of [[$("product"), PRODUCT], [$("entity"), ENTITY], [$("diff"), DIFF]]) {
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith(start)) history.replaceState(null, "", location.pathname + location.search);
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}

const hideDrop = debounce(120, () => { $("drop").hidden = true; });
document.addEventListener("dragover", (event) => {
  if (![...event.dataTransfer.types].includes("Files")) return;
  event.preventDefault();
  $("drop").hidden = false;
  hideDrop();
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").hidden = true;
  takePicture(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((found) => found.type.startsWith("image/"));
  if (file) takePicture(file);
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "/" && !typing && !document.querySelector("dialog[open]")) {
    event.preventDefault();
    $("text").select();
  }
});
window.addEventListener("popstate", () => {
  if (location.search === asked) return; // only a product was opened or closed
  readAddress();
  refresh();
});
if (matchMedia("(max-width: 760px)").matches) $("filters").open = false;

readAddress();
refresh();
showNamed();

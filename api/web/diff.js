// The same queries on two generations, side by side with pictures: what only one of them finds is marked, and what both
// find says how far it has moved. Queries that differ most come first.

import { get, post } from "./api.js";
import { $, el } from "./dom.js";
import { row } from "./results.js";

const asked = { text: "", k: 5 };
const percent = (share) => `${Math.round(100 * share)} %`;
const path = (a, b) => `#diff/${encodeURIComponent(a)}/${encodeURIComponent(b)}`;

/** The ids in the address; where it names none, the live generation and the latest other one. */
function chosen(name, generations) {
  const [a, b] = name.split("/").map((part) => { try { return decodeURIComponent(part); } catch { return ""; } });
  if (a && b) return [a, b];
  const live = generations.find((one) => one.state === "live");
  const other = [...generations].reverse().find((one) => one !== live);
  return [live?.id || "", other?.id || ""];
}

function picker(label, value, generations, change) {
  const select = el("select", { "aria-label": label, onchange: () => change(select.value) },
    generations.map((one) => el("option", { value: one.id, selected: one.id === value }, `${one.id} ${one.encoder} (${one.state})`)));
  return select;
}

/** How a product stands in the other list. */
function moved({ hit, other }) {
  if (other === null) return el("span", { className: "moved only" }, "only here");
  if (other === hit.rank) return el("span", { className: "moved" }, "same place");
  return el("span", { className: "moved" }, `${other > hit.rank ? "▲" : "▼"} ${other} there`);
}

function list(side, name, actions) {
  const lines = side.map((one) => {
    const line = row(one.hit, actions);
    line.classList.toggle("only", one.other === null);
    line.append(moved(one));
    return line;
  });
  return el("ol", { "aria-label": name }, lines.length ? lines : el("li", { className: "none" }, "nothing"));
}

function compared(found, actions) {
  return [
    el("p", { className: "sum", role: "status" },
      `${found.queries.length} queries: ${percent(found.overlap)} of the first ${found.k} are the same, the very first for ${percent(found.same_first)} of them`),
    ...found.queries.map((one) => el("section", { className: "query" },
      el("h3", {}, one.text || one.id, el("small", {}, ` ${percent(one.overlap)} the same`)),
      el("div", { className: "pair" }, list(one.a, found.a, actions), list(one.b, found.b, actions)))),
  ];
}

export async function openDiff(name, actions) {
  const dialog = $("diff");
  const close = el("button", { type: "button", className: "close", "aria-label": "Close", onclick: () => dialog.close() }, "×");
  const head = el("h2", { tabIndex: -1 }, "Two generations compared");
  const complain = (error) => el("p", { className: "none" }, [error.message, error.hint].filter(Boolean).join(". "));
  if (!dialog.open) dialog.showModal();
  let generations;
  try {
    generations = (await get("/v1/generations")).generations.filter((one) => one.state !== "retired");
  } catch (error) {
    dialog.replaceChildren(close, head, complain(error));
    return;
  }
  const [a, b] = chosen(name, generations);
  if (generations.length < 2 || !a || !b) {
    dialog.replaceChildren(close, head, el("p", { className: "none" }, "There is only one. ", el("code", {}, "skugraph reembed --encoder DIR"), " builds another beside it."));
    return;
  }
  const queries = el("textarea", { rows: 3, placeholder: "One query a line", value: asked.text, "aria-label": "Queries, one a line" });
  const result = el("div", { id: "diff-result" });
  const compare = async () => {
    asked.text = queries.value;
    const texts = [...new Set(queries.value.split("\n").map((line) => line.trim()).filter(Boolean))];
    if (!texts.length) { queries.focus(); return; }
    result.replaceChildren(el("p", {}, "Comparing…"));
    try {
      const body = { a, b, k: asked.k, queries: texts.map((text) => ({ text })) };
      result.replaceChildren(...compared(await post("/v1/generations/diff", body), actions));
    } catch (error) {
      result.replaceChildren(complain(error));
    }
  };
  const go = (left, right) => { location.hash = path(left, right); };
  const form = el("form", { onsubmit: (event) => { event.preventDefault(); compare(); } },
    el("div", { className: "pair" },
      picker("One generation", a, generations, (value) => go(value, b)),
      picker("The other generation", b, generations, (value) => go(a, value))),
    queries, el("button", { className: "primary" }, "Compare"));
  dialog.replaceChildren(close, head, form, result);
  head.focus();
  if (asked.text) compare();
}

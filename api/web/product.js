// One product: pictures, offers of the very same product, and its entities as ways on.

import { get, productPath } from "./api.js";
import { $, el, money } from "./dom.js";
import { picture } from "./results.js";

function offersTable(offers, own) {
  if (!offers.length) return null;
  const lowest = Math.min(...offers.map((offer) => offer.price));
  const rows = offers.map((offer) => el("tr", { className: offer.product_id === own ? "own" : "" },
    el("th", { scope: "row" }, offer.seller || offer.product_id),
    el("td", {}, money(offer.price, offer.currency)),
    el("td", { className: "more" }, offer.price > lowest && lowest > 0 ? `+${Math.round((100 * (offer.price - lowest)) / lowest)} %` : "lowest")));
  return el("section", {}, el("h3", {}, offers.length === 1 ? "Offer" : `${offers.length} offers of this product`),
    el("table", {}, el("tbody", {}, rows)));
}

export async function openProduct(id, actions) {
  const [product, { offers }] = await Promise.all([get(productPath(id)), get(`${productPath(id)}/offers`)]);
  const dialog = $("product");
  const leave = (work) => () => { dialog.close(); work(); };
  const entities = product.entities.map((entity) => el("li", {}, el("button", {
    type: "button", title: `Products with ${entity.key}`, onclick: leave(() => actions.entity(entity.key)),
  }, el("span", { className: "type" }, entity.type), ` ${entity.text}`),
  el("button", { type: "button", className: "around", "aria-label": `Entities around ${entity.key}`, title: "What is similar to it", onclick: leave(() => actions.walk(entity.key)) }, "⁂")));
  const way = product.category.map((name, at) => (at ? ` › ${name}` : name)).join("");
  const link = /^https?:/.test(product.url) ? el("a", { href: product.url, rel: "noreferrer noopener", target: "_blank" }, "At the seller") : null;
  dialog.replaceChildren(
    el("button", { type: "button", className: "close", "aria-label": "Close", onclick: () => dialog.close() }, "×"),
    el("div", { className: "pictures" }, product.pictures.map((found) => picture(`${found.href}?width=800`, product.title, found))),
    el("div", { className: "about" },
      el("p", { className: "over" }, [product.brand, way].filter(Boolean).join(" · ")),
      el("h2", {}, product.title),
      product.price === null ? null : el("p", { className: "price" }, el("strong", {}, money(product.price, product.currency)), el("span", { className: "seller" }, product.seller)),
      product.description ? el("p", {}, product.description) : null,
      offersTable(offers, product.id),
      entities.length ? el("section", {}, el("h3", {}, "Known about it"), el("ul", { className: "entities" }, entities)) : null,
      el("p", { className: "actions" },
        el("button", { type: "button", className: "primary", onclick: leave(() => actions.like(product.id)) }, "More like this"), link),
      el("p", { className: "id" }, product.id)));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

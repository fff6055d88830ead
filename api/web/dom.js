// Small tools: elements without innerHTML, so that nothing from a catalogue is ever read as markup.

export const $ = (id) => document.getElementById(id);

/** An element; `props` are properties, or attributes where the name has a dash; children may be nodes or text. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element with attributes. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A price with its currency; catalogues without a currency get the bare number. */
export function money(price, currency) {
  if (price === null || price === undefined) return "";
  const style = currency ? { style: "currency", currency } : { maximumFractionDigits: 2 };
  return new Intl.NumberFormat(undefined, style).format(price);
}

/** `text` after a pause in calls. */
export function debounce(wait, work) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), wait);
  };
}

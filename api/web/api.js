// Talking to the server: JSON in and out, problems as errors, an API key when it asks for one.

import { $ } from "./dom.js";

export class Problem extends Error {
  constructor(body) {
    super(body.detail || body.title);
    this.hint = body.hint || "";
    this.status = body.status;
  }
}

const key = () => sessionStorage.getItem("skugraph-key");
const headers = () => (key() ? { Authorization: `Bearer ${key()}` } : {});

function askForKey() {
  const dialog = $("key");
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      sessionStorage.setItem("skugraph-key", $("key-value").value.trim());
      resolve();
    }, { once: true });
  });
}

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...options.headers, ...headers() } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ detail: "The server does not answer", hint: "Is `skugraph up` still running?" });
  }
  if (response.status === 401) {
    await askForKey();
    return call(path, options);
  }
  if (!response.ok) {
    const body = await response.json().catch(() => ({ title: response.statusText, status: response.status }));
    throw new Problem(body);
  }
  return response;
}

export async function get(path, options) {
  return (await call(path, options)).json();
}

export async function post(path, body, options = {}) {
  const json = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return (await call(path, { ...options, ...json })).json();
}

/** JSON, with a picture as a file beside it. */
async function postPicture(path, request, picture, options) {
  const form = new FormData();
  form.set("request", JSON.stringify(request));
  form.set("image", picture);
  return (await call(path, { ...options, method: "POST", body: form })).json();
}

export const search = (request, picture, options = {}) => (picture
  ? postPicture("/v1/search", request, picture, options) : post("/v1/search", request, options));

export const searchInstances = (request, picture, options = {}) => postPicture("/v1/instances", request, picture, options);

/** Show a picture of the API in an <img>; with a key it has to be fetched, because <img> sends none. */
export async function show(image, path) {
  if (!key()) {
    image.src = path;
    return;
  }
  const blob = await (await call(path)).blob();
  image.src = URL.createObjectURL(blob);
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
}

export const productPath = (id) => `/v1/products/${id.split("/").map(encodeURIComponent).join("/")}`;

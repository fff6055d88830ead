// What a person does at the neighbourhood of an entity: look, go one step farther, walk to a neighbour by the keyboard,
// go back, ask for the products. Each state is noted as it is on show.

const $ = (id) => document.getElementById(id);
const until = async (ready) => { while (!ready()) await new Promise((done) => setTimeout(done, 20)); };
const nodes = () => [...document.querySelectorAll("#entity .node")];
const own = () => nodes().filter((node) => node.classList.contains("own")).map((node) => node.dataset.key);
const log = [];
const note = () => log.push({
  open: $("entity").open,
  heading: $("entity").querySelector("h2").textContent.toLowerCase(),
  nodes: nodes().map((node) => node.dataset.key),
  own: own(),
  places: nodes().map((node) => node.getAttribute("transform").match(/-?\d+/g)),
  edges: [...document.querySelectorAll("#entity .graph .edge")].map((edge) => edge.getAttribute("class")),
  cards: document.querySelectorAll("#hits .title").length,
  search: location.search,
});
await until(() => nodes().length);
const [start] = own();
note();
const steps = document.querySelector("#entity select");
steps.value = "2";
steps.dispatchEvent(new Event("change"));
await until(() => nodes().length === 3);
note();
const neighbour = nodes().find((node) => node.dataset.key !== start && node.tabIndex === 0 && node.getAttribute("aria-label").includes("strength 0.80"));
neighbour.focus();
neighbour.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
await until(() => own()[0] === neighbour.dataset.key);
note();
history.back();
await until(() => own()[0] === start);
note();
document.querySelector("#entity .primary").click();
await until(() => !$("entity").open && location.search && document.querySelector("#hits .title") && !document.querySelector(".bone"));
note();
document.body.append(Object.assign(document.createElement("pre"), { id: "log", textContent: JSON.stringify(log) }));

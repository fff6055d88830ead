// What a person does with a picture of two products: paste it, look inside, choose a box, draw another one with the
// POINTER, move and size it with the keyboard, remove it. Each state is noted as it is on show.

const picture = await (await fetch("/scene.png")).blob();
const data = new DataTransfer();
data.items.add(new File([picture], "scene.png", { type: "image/png" }));
document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
const $ = (id) => document.getElementById(id);
const boxes = () => [...document.querySelectorAll(".box")];
const until = async (ready) => { while (!ready()) await new Promise((done) => setTimeout(done, 20)); };
const answered = (count) => until(() => boxes().length === count && boxes().every((box) => box.title !== "nothing found"));
const log = [];
const note = () => log.push({
  boxes: boxes().map((box) => [box.style.left, box.style.top, box.style.width, box.style.height]),
  labels: boxes().map((box) => box.getAttribute("aria-label")),
  chosen: boxes().findIndex((box) => box.getAttribute("aria-pressed") === "true"),
  hits: [...document.querySelectorAll("#instance .what strong")].map((title) => title.textContent),
  heading: document.querySelector("#instance h2").textContent,
  merged: [...document.querySelectorAll("#hits .title")].map((title) => title.textContent),
  won: [...document.querySelectorAll("#hits .badge")].map((badge) => badge.textContent),
});
await until(() => !$("mode").hidden);
$("mode-inside").click();
await answered(2);
await until(() => document.querySelector("#hits .badge"));
note();
boxes()[1].focus();
boxes()[1].click();
note();
const stage = $("stage").getBoundingClientRect();
const pointer = (type, x, y, target = window) => target.dispatchEvent(new PointerEvent(type, {
  bubbles: true, pointerId: 7, button: 0, pointerType: POINTER,
  clientX: stage.left + x * stage.width, clientY: stage.top + y * stage.height,
}));
if (POINTER === "touch") $("draw").dispatchEvent(new MouseEvent("click", { detail: 1, bubbles: true }));
pointer("pointerdown", 0.6, 0.1, $("stage"));
pointer("pointermove", 0.95, 0.9);
pointer("pointerup", 0.95, 0.9);
await answered(3);
note();
boxes()[2].focus();
const key = (name, shiftKey = false) =>
  boxes()[2].dispatchEvent(new KeyboardEvent("keydown", { key: name, shiftKey, bubbles: true }));
key("ArrowLeft");
key("ArrowUp", true);
await until(() => boxes()[2].title === "nothing found");
await answered(3);
note();
key("Delete");
await answered(2);
note();
document.body.append(Object.assign(document.createElement("pre"), { id: "log", textContent: JSON.stringify(log) }));

// Tells beside a field what is wrong with it as soon as it is left or sent. The server's check stays the truth: rules and
// words come from it, with the fields, and none is stricter here.

const typed = (form) => [...form.querySelectorAll("[data-missing]")];
const box = () => document.querySelector("[data-wrong]");

function wordsFor({ value, dataset }) {
  const text = value.trim();
  if (!text) return dataset.missing;
  return dataset.pattern && !new RegExp(dataset.pattern, "u").test(text) ? dataset.mistaken : "";
}

function blame(field, words) {
  clear(field);
  const said = Object.assign(document.createElement("p"), { id: `${field.id}_error`, className: "wrong" });
  said.textContent = words;
  field.after(said);
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", said.id);
}

function clear(field) {
  document.getElementById(`${field.id}_error`)?.remove();
  field.removeAttribute("aria-invalid");
  field.removeAttribute("aria-describedby");
}

// What the server found wrong, and no rule here knows of, stays until it is changed.
function check(field) {
  const words = wordsFor(field);
  if (words) blame(field, words);
}

function entry(field) {
  const item = document.createElement("li");
  const link = Object.assign(document.createElement("a"), { href: `#${field.id}`, textContent: field.labels[0].textContent });
  item.append(link, box().dataset.wrong === "brief" ? "" : box().dataset.between + wordsFor(field));
  return item;
}

function tell(wrong) {
  if (!box()) return wrong[0].focus();
  box().querySelector("ul").replaceChildren(...wrong.map(entry));
  box().hidden = false;
  box().focus();
}

let pressed = false;
addEventListener("pointerdown", () => (pressed = true), true);
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => (pressed = false), true);

// An error that appears during a press would move the button from under the finger.
addEventListener("focusout", ({ target }) => {
  if (!target.dataset?.missing || target === document.activeElement) return;
  if (pressed) addEventListener("pointerup", () => setTimeout(check, 0, target), { once: true });
  else check(target);
});
addEventListener("input", ({ target }) => {
  if (target.ariaInvalid && !wordsFor(target)) clear(target);
});
addEventListener("submit", (event) => {
  const wrong = typed(event.target).filter(wordsFor);
  if (!wrong.length) return;
  event.preventDefault();
  wrong.forEach(check);
  tell(wrong);
});
if (box()?.hidden === false) box().focus();

// The page that comes in another language has what was typed into this one: kept for this tab until then.
// Never the tax number, nor what else says autocomplete=off.
const place = `typed ${location.pathname}`;
const kept = () => [...document.querySelectorAll("[data-missing]:not([autocomplete=off])")];

addEventListener("submit", ({ target }) => {
  if (!target.matches(".languages")) return;
  sessionStorage.setItem(place, JSON.stringify(Object.fromEntries(kept().map(({ name, value }) => [name, value]))));
});
const before = JSON.parse(sessionStorage.getItem(place)) ?? {};
sessionStorage.removeItem(place);
for (const field of kept()) field.value = before[field.name] || field.value;

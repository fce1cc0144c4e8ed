// The keyboard map: everything a key does has a button as well. `?` shows the list.
import { openJump } from "./jump.js";

const GO_MS = 1500;  // after `g`, how long the second key may take
let going = 0;

export function startKeys() {
  listPlaces();
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      openJump();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("[data-arrows]") && arrows(event)) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) {
      if (event.key === "Escape" && event.target.matches("[data-filter]")) event.target.blur();
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    if (Date.now() < going) {
      going = 0;
      goTo(event);
    } else keys[event.key]?.(event);
  });
  // A menu opened from the keyboard begins at its first entry.
  for (const menu of document.querySelectorAll("[data-arrows]"))
    menu.addEventListener("toggle", (event) => { if (event.newState === "open") entries(menu)[0]?.focus(); });
}

const keys = {
  "/": (event) => { event.preventDefault(); openJump(); },
  "?": (event) => { event.preventDefault(); document.getElementById("keys")?.showModal(); },
  f: (event) => {
    const filter = document.querySelector("[data-filter]");
    if (filter) { event.preventDefault(); filter.focus(); }
  },
  g: () => { going = Date.now() + GO_MS; },
  j: () => step(1),
  k: () => step(-1),
};

function step(by) {
  const rows = [...document.querySelectorAll("main tbody tr[id]")];
  const at = rows.indexOf(document.activeElement?.closest("tr"));
  rows[Math.max(0, Math.min(at + by, rows.length - 1))]?.querySelector("a")?.focus();
}

function goTo(event) {
  const target = document.querySelector(`.side [data-key="${CSS.escape(event.key)}"]`);
  if (!target) return;
  event.preventDefault();
  target.click();
}

function arrows(event) {
  const list = entries(event.target.closest("[data-arrows]"));
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by) return false;
  event.preventDefault();
  list[(list.indexOf(document.activeElement) + by + list.length) % list.length].focus();
  return true;
}

function entries(menu) {
  return [...menu.querySelectorAll("a, button")];
}

/** The places of the navigation with their keys, from the navigation itself. */
function listPlaces() {
  const list = document.querySelector("[data-go-keys]");
  if (!list) return;
  for (const place of document.querySelectorAll(".side [data-key]")) {
    const term = document.createElement("dt");
    for (const key of ["g", place.dataset.key]) term.append(Object.assign(document.createElement("kbd"), { textContent: key }), " ");
    const name = place.matches(".org") ? "Switch organisation" : place.matches(".who") ? "Your account" : place.childNodes[1].textContent;
    list.append(term, Object.assign(document.createElement("dd"), { textContent: name.trim() }));
  }
}

// What pages do by themselves: theme, copying, dialogs, ticking times, keys, and live values. No framework.
import { startJump } from "./jump.js";
import { startKeys } from "./keys.js";
import { refreshPart, startLive } from "./live.js";
import { startMore } from "./more.js";

const root = document.documentElement;
const ACTS = ["theme-toggle", "copy", "copy-from", "copy-editor", "reveal", "open", "close", "refresh"].map((act) => `[data-${act}]`).join();

document.addEventListener("click", async (event) => {
  const el = event.target.closest(ACTS);
  if (!el) return;
  if (el.matches("[data-theme-toggle]")) {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  } else if (el.matches("[data-copy]")) {
    await copy(el, el.closest(".code").querySelector("pre").innerText.replace(/^[$#] /gm, ""));
  } else if (el.matches("[data-copy-editor]")) {
    await copy(el, el.form.querySelector("[data-editor]").value);
  } else if (el.matches("[data-copy-from]")) {
    await copy(el, await secret(el.dataset.copyFrom));
  } else if (el.matches("[data-reveal]")) {
    el.closest(".code").querySelector("pre").textContent = await secret(el.dataset.reveal);
    el.remove();
  } else if (el.dataset.open) {
    document.getElementById(el.dataset.open).showModal();
  } else if (el.dataset.refresh) {
    event.preventDefault();
    await refreshPart(el.dataset.refresh);
  } else if (el.matches("[data-close]")) {
    el.closest("dialog").close();
  }
});

/** A text with its secret: a request of its own, which the server audits. */
async function secret(url) {
  const answer = await fetch(url, { method: "POST", headers: { "X-CSRFToken": document.body.dataset.csrf } });
  if (!answer.ok) throw new Error(`the server refused: ${answer.status}`);
  return answer.text();
}

async function copy(button, text) {
  const label = button.lastChild;
  const before = label.textContent;
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    label.textContent = "Cannot copy here";
  }
  setTimeout(() => { label.textContent = before; }, 1500);
}

// A dangerous act needs the object's name typed.
document.addEventListener("input", (event) => {
  const input = event.target.closest("[data-must-type]");
  if (input) input.closest("dialog").querySelector(".kill").disabled = input.value !== input.dataset.mustType;
});

// A download leaves the page where it is, so its dialog closes by itself.
document.addEventListener("submit", (event) => {
  if (event.target.matches("[data-download]")) event.target.closest("dialog").close();
});

// Choices that load something else at once.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});

// How long something has lasted ticks here, so that the server need not say it again.
export function span(seconds) {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) {
    const hours = Math.floor(seconds / 3600), minutes = Math.floor(seconds / 60) % 60;
    return hours < 10 && minutes ? `${hours} h ${String(minutes).padStart(2, "0")}` : `${hours} h`;
  }
  return `${Math.floor(seconds / 86400)} d`;
}

setInterval(() => {
  for (const el of document.querySelectorAll("time[data-since]")) {
    const text = span(Math.max(0, Math.floor((Date.now() - Date.parse(el.dateTime)) / 1000)));
    if (el.textContent !== text) el.textContent = text;
  }
}, 1000);

startLive();
startJump();
startKeys();
startMore();

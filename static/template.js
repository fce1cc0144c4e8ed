// The template editor: checks the text as it is typed, marks its lines, and shows the plan beside it.
import { edit } from "./vendor/editor.js";

const form = document.getElementById("template-form");
const panel = document.getElementById("verdict");
const editor = edit(form.querySelector("[data-editor]"), changed);
let timer = 0;
let asked = 0;

mark();

panel.addEventListener("click", (event) => {
  const go = event.target.closest("[data-go]");
  if (go) editor.go(Number(go.dataset.go));
});

function changed() {
  for (const button of panel.querySelectorAll("[form]")) button.disabled = true;  // the plan shown is not of this text
  clearTimeout(timer);
  timer = setTimeout(check, 400);
}

async function check() {
  const mine = ++asked;
  const answer = await fetch(form.dataset.check, { method: "POST", body: new FormData(form) }).catch(() => null);
  if (mine !== asked) return;
  if (!answer?.ok) {
    timer = setTimeout(check, 2000);
    return;
  }
  const open = new Set([...panel.querySelectorAll("details[open] b")].map((name) => name.textContent));
  panel.innerHTML = await answer.text();
  for (const details of panel.querySelectorAll("details")) details.open = open.has(details.querySelector("b").textContent);
  mark();
}

function mark() {
  editor.mark([...panel.querySelectorAll("[data-problem]")].map((item) => ({
    line: Number(item.dataset.line), message: item.dataset.problem, severity: item.dataset.severity,
  })));
}

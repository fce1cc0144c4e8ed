// Search or jump: one box over everything, opened by `/` or Ctrl-K. The server finds, with the person's own permission.

const dialog = document.getElementById("go");
const input = dialog?.querySelector("input");
let asked = 0;
let timer = 0;

export function openJump() {
  if (!dialog || dialog.open) return;
  dialog.showModal();
  input.select();
  find();
}

export function startJump() {
  if (!dialog) return;
  document.addEventListener("click", (event) => {
    if (event.target.closest('[data-open="go"]')) find();
    else if (event.target === dialog) dialog.close();  // beside it
  });
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, 120);
  });
  input.addEventListener("keydown", (event) => {
    const options = [...dialog.querySelectorAll("[role=option]")];
    const at = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: input.value ? at : 0, End: input.value ? at : options.length - 1 }[event.key];
    if (to !== undefined && options.length) {
      event.preventDefault();
      choose(options, (to + options.length) % options.length);
    } else if (event.key === "Enter" && options[at]) {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) open(options[at].href);
      else location.assign(options[at].href);
    }
  });
}

function choose(options, index) {
  options.forEach((option, at) => option.setAttribute("aria-selected", String(at === index)));
  options[index].scrollIntoView({ block: "nearest" });
  input.setAttribute("aria-activedescendant", options[index].id);
}

async function find() {
  const mine = ++asked;
  const found = dialog.querySelector("[data-jump-found]");
  const answer = await fetch(`${dialog.dataset.jump}?q=${encodeURIComponent(input.value)}`).catch(() => null);
  if (mine !== asked) return;
  if (!answer?.ok || answer.redirected) {
    found.innerHTML = '<div role="listbox" id="go-found" aria-label="Found"></div><p class="nothing" role="status"></p>';
    found.lastChild.textContent = answer?.redirected ? "You are signed out. Load the page again to sign in." : "The server does not answer now. Type on to try again.";
    input.removeAttribute("aria-activedescendant");
    return;
  }
  found.innerHTML = await answer.text();
  const options = [...found.querySelectorAll("[role=option]")];
  if (options.length) choose(options, 0);
  else input.removeAttribute("aria-activedescendant");
}

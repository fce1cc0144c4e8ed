// Further rows of a long list come as one scrolls. A row that stands for them says what it waits for when that takes
// long, can be stopped, and says so when they do not come.

const SAY_MS = 3000, OFFER_MS = 10000;
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) load(target);
}, { rootMargin: "400px" });

export function startMore() {
  watch(document);
  new MutationObserver(() => watch(document)).observe(document.body, { childList: true, subtree: true });
  document.addEventListener("click", (event) => {
    const again = event.target.closest("[data-more-again]");
    if (again) load(again.closest("[data-more]"));
  });
}

function watch(root) {
  for (const row of root.querySelectorAll("[data-more]:not([data-watched])")) {
    row.dataset.watched = "";
    row.skeleton = row.innerHTML;
    seen.observe(row);
  }
}

async function load(row) {
  seen.unobserve(row);
  row.className = "ghost";
  row.innerHTML = row.skeleton;
  const stop = new AbortController();
  const timers = [
    setTimeout(() => say(row, "Waiting for the next rows from the server."), SAY_MS),
    setTimeout(() => say(row, "Still waiting for the next rows from the server.", "Stop", () => stop.abort()), OFFER_MS),
  ];
  const answer = await fetch(row.dataset.more, { signal: stop.signal, headers: { "HX-Request": "true" } }).catch(() => null);
  const text = answer?.ok && !answer.redirected ? await answer.text().catch(() => null) : null;
  timers.forEach(clearTimeout);
  if (text === null) {
    const why = stop.signal.aborted ? "You stopped it." : answer ? `The server answered ${answer.status}.` : "The server does not answer.";
    say(row, `The next rows did not come. ${why}`, "Try again");
    row.querySelector("button").dataset.moreAgain = "";
    return;
  }
  const table = document.createElement("template");
  table.innerHTML = text.trim();
  row.replaceWith(table.content);
}

function say(row, text, act = "", pressed = null) {
  row.className = "tell";
  const cell = document.createElement("td");
  cell.colSpan = row.dataset.columns || 8;
  cell.className = "w";
  cell.setAttribute("role", "cell");
  const words = Object.assign(document.createElement("span"), { textContent: text });
  words.setAttribute("role", "status");
  cell.append(words);
  if (act) {
    const button = Object.assign(document.createElement("button"), { textContent: act, className: "b sm", type: "button" });
    if (pressed) button.addEventListener("click", pressed);
    cell.append(" ", button);
  }
  row.replaceChildren(cell);
}

// Live values: the websocket tells which objects changed, the page fetches the fragments that show them again.
// At most 4 swaps a second; what has the focus, is selected or open is never swapped under the reader.

const app = document.querySelector("[data-live-url]");
const state = document.querySelector("[data-live-state]");
const waiting = new Set();
let delay = 500;
let fetching = false;

export function startLive() {
  if (app) connect();
}

function show(shape, word) {
  if (!state) return;
  state.innerHTML = `<span class="st ${shape}"><svg class="i" aria-hidden="true"><use href="#st-${shape}"/></svg></span>`;
  state.firstChild.append(word);
  document.body.classList.toggle("stale", shape !== "ok");
}

function connect() {
  const url = new URL(app.dataset.liveUrl, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  let lost = 0;
  socket.onopen = () => {
    show("ok", "Live");
    if (delay > 500) refreshAll();
    delay = 500;
  };
  socket.onmessage = (event) => {
    const { kind, id } = JSON.parse(event.data);
    waiting.add(`${kind}:${id}`);
    schedule();
  };
  socket.onclose = () => {
    show("off", "Not live");
    clearTimeout(lost);
    lost = setTimeout(connect, delay);
    delay = Math.min(delay * 2, 15000);
  };
}

function refreshAll() {
  for (const el of document.querySelectorAll("[data-live]")) for (const topic of el.dataset.live.split(" ")) waiting.add(topic);
  schedule();
}

let timer = 0;
function schedule() {
  if (!timer) timer = setTimeout(flush, 250);
}

async function flush() {
  timer = 0;
  if (fetching) return schedule();
  fetching = true;
  const topics = [...waiting];
  waiting.clear();
  const kinds = new Set(topics.map((topic) => `${topic.split(":")[0]}:*`));
  const changed = [...document.querySelectorAll("[data-live]")].filter((el) =>
    el.dataset.live.split(" ").some((topic) => topics.includes(topic) || kinds.has(topic)));
  try {
    for (const el of changed) await swap(el);
  } finally {
    fetching = false;
  }
}

/** Replace an element by what its `data-src` gives now; it keeps its place. */
async function swap(el) {
  if (!el.isConnected) return;
  if (busy(el)) {
    for (const topic of el.dataset.live.split(" ")) waiting.add(topic);
    return schedule();
  }
  const answer = await fetch(el.dataset.src, { headers: { "HX-Request": "true" } });
  if (answer.status === 404 || answer.status === 204) { el.remove(); return; }
  if (!answer.ok) return;
  const template = document.createElement("template");
  template.innerHTML = (await answer.text()).trim();
  const fresh = template.content.firstElementChild;
  if (!fresh || fresh.isEqualNode(el) || busy(el)) return;
  if (fresh.matches("tr")) fresh.classList.add("new");
  el.replaceWith(fresh);
  window.htmx?.process(fresh);
}

function busy(el) {
  return el.contains(document.activeElement) && document.activeElement !== document.body
    || el.querySelector("dialog[open], :popover-open") !== null;
}

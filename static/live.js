// Live values: the websocket tells which objects changed, the page fetches the fragments that show them again.
// At most 4 rounds a second; what has the focus or is open is never swapped under the reader, it waits.

const app = document.querySelector("[data-live-url]");
const state = document.querySelector("[data-live-state]");
const heard = new Set();    // topics, "kind:id"
const due = new Set();      // addresses of fragments to fetch
const fetched = new Map();  // address -> when, for fragments that keep a pace of their own
let delay = 500;
let timer = 0;
let working = false;

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
  socket.onopen = () => {
    show("ok", "Live");
    delay = 500;
    catchUp();
  };
  socket.onmessage = (event) => {
    const { kind, id } = JSON.parse(event.data);
    heard.add(`${kind}:${id}`).add(`${kind}:*`);
    schedule();
  };
  socket.onclose = () => {
    show("off", "Not live");
    setTimeout(connect, delay);
    delay = Math.min(delay * 2, 15000);
  };
}

/** What changed before we listened: a list is asked for once, other fragments one by one. */
async function catchUp() {
  const list = document.getElementById("list");
  const whole = list !== null && !busy(list);
  if (whole) await refreshPart("#list");
  for (const el of document.querySelectorAll("[data-live]")) if (!whole || !el.closest("#list")) due.add(el.dataset.src);
  schedule();
}

function schedule() {
  timer ||= setTimeout(round, 250);
}

async function round() {
  timer = 0;
  if (working) return schedule();
  for (const el of document.querySelectorAll("[data-live]")) {
    if (el.dataset.live.split(" ").some((topic) => heard.has(topic))) due.add(el.dataset.src);
  }
  heard.clear();
  working = true;
  try {
    for (const src of [...due]) {
      const el = document.querySelector(`[data-src="${CSS.escape(src)}"]`);
      if (el && (busy(el) || Date.now() - (fetched.get(src) || 0) < Number(el.dataset.pace || 0))) continue;
      due.delete(src);
      fetched.set(src, Date.now());
      if (el) await swap(el);
    }
  } finally {
    working = false;
    if (due.size) schedule();
  }
}

/** Replace an element by what its address gives now; it keeps its place. */
async function swap(el) {
  const answer = await fetch(el.dataset.src, { headers: { "HX-Request": "true" } }).catch(() => null);
  if (answer?.status === 404) return el.remove();
  if (!answer?.ok || answer.redirected) return;
  const fresh = parse(await answer.text()).firstElementChild;
  if (!fresh || same(fresh, el)) return;
  if (busy(el)) {
    due.add(el.dataset.src);
    return;
  }
  put(fresh, el);
  const refresh = fresh.querySelector("[data-refresh]");
  if (refresh && calm(document.querySelector(refresh.dataset.refresh))) await refreshPart(refresh.dataset.refresh, calm);
}

/** Replace a part of the page by the same part as the server draws it now: new rows, changed order. `may` is asked once
 * it is here, since a person may have begun to type meanwhile. */
export async function refreshPart(selector, may = () => true) {
  const answer = await fetch(location.href).catch(() => null);
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(selector);
  const old = document.querySelector(selector);
  if (fresh && old && may(old) && !same(fresh, old)) put(document.importNode(fresh, true), old);
}

function put(fresh, old) {
  const known = new Map([...old.querySelectorAll("tr[id]")].map((row) => [row.id, row]));
  for (const row of fresh.matches("tr") ? [fresh] : fresh.querySelectorAll("tr[id]")) {
    const before = row === fresh ? old : known.get(row.id);
    if (!before || !same(row, before)) row.classList.add("new");
  }
  old.replaceWith(fresh);
  window.htmx?.process(fresh);
}

function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  return template.content;
}

/** Whether two elements say the same; how long something has lasted ticks by itself and does not count. */
function same(one, other) {
  const [a, b] = [one, other].map((el) => {
    const copy = el.cloneNode(true);
    copy.classList.remove("new");
    if (!copy.classList.length) copy.removeAttribute("class");
    for (const time of copy.querySelectorAll("time[data-since]")) time.textContent = "";
    for (const row of copy.querySelectorAll("tr.new")) {
      row.classList.remove("new");
      if (!row.classList.length) row.removeAttribute("class");
    }
    return copy;
  });
  return a.isEqualNode(b);
}

function busy(el) {
  return el.contains(document.activeElement) && document.activeElement !== document.body
    || el.querySelector("dialog[open], :popover-open") !== null
    || [...el.querySelectorAll("input, textarea")].some((input) => input.value !== input.defaultValue);
}

/** Whether nobody would be disturbed: nothing in the part is focused or pointed at, and the page is at its top. */
function calm(part) {
  return part !== null && !busy(part) && !part.matches(":hover") && scrollY < 40;
}

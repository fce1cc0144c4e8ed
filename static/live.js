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
let lostAt = null;          // since when the connection is gone, null while it is there
let again = 0;              // when the next try is
let retry = 0;
const started = Date.now();

const BANNER_MS = 2000, STALE_MS = 30000;
const banner = document.querySelector("[data-live-banner]");

export function startLive() {
  if (!app) return;
  connect();
  setInterval(tellLoss, 500);
  setInterval(onceInAWhile, 5000);
  banner?.querySelector("[data-live-now]").addEventListener("click", () => { if (lostAt !== null) connect(); });
}

function show(shape, word) {
  if (!state) return;
  state.innerHTML = `<span class="st ${shape}"><svg class="i" aria-hidden="true"><use href="#st-${shape}"/></svg></span>`;
  state.firstChild.append(word);
  state.classList.toggle("hide-m", shape === "ok");
}

/** Say that values are old: at once beside the name, in words when it lasts, on the values themselves when they age. */
function tellLoss() {
  const lost = lostAt === null ? 0 : Date.now() - lostAt;
  document.body.classList.toggle("stale", lost > STALE_MS);
  if (!banner) return;
  if (lost > BANNER_MS && banner.hidden) {
    const time = banner.querySelector("[data-live-lost]");
    time.dateTime = new Date(lostAt).toISOString();
    time.textContent = new Date(lostAt).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
    banner.hidden = false;
  } else if (!lost) banner.hidden = true;
  const seconds = Math.ceil((again - Date.now()) / 1000);
  banner.querySelector("[data-live-next]").textContent = seconds > 0 ? `Trying again in ${seconds} s.` : "Trying now.";
}

function connect() {
  clearTimeout(retry);
  again = 0;
  const url = new URL(app.dataset.liveUrl, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  socket.onopen = () => {
    show("ok", "Live");
    delay = 500;
    lostAt = null;
    tellLoss();
    catchUp();
  };
  socket.onmessage = (event) => {
    const { kind, id } = JSON.parse(event.data);
    heard.add(`${kind}:${id}`).add(`${kind}:*`);
    schedule();
  };
  socket.onclose = () => {
    show("off", "Not live");
    lostAt ??= Date.now();
    again = Date.now() + delay;
    retry = setTimeout(connect, delay);
    delay = Math.min(delay * 2, 15000);
  };
}

/** What becomes true by time alone, and so is told by nobody: such a part is asked for every `data-every` milliseconds. */
function onceInAWhile() {
  if (lostAt !== null) return;
  for (const el of document.querySelectorAll("[data-every]"))
    if (Date.now() - (fetched.get(el.dataset.src) ?? started) > Number(el.dataset.every)) due.add(el.dataset.src);
  if (due.size) schedule();
}

/** What changed before we listened: a list is asked for once, other fragments one by one. */
async function catchUp() {
  const list = document.getElementById("list");
  const whole = list !== null && !busy(list) && scrollY < 40;  // further down, rows that came later would go
  if (whole) await refreshPart("#list", (part) => !busy(part));
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

/** Replace an element by what its address gives now; it keeps its place, and the rows that came as one scrolled. */
async function swap(el) {
  const rows = "window" in el.dataset ? `&rows=${el.querySelectorAll("tbody > tr[id]").length}` : "";
  const answer = await fetch(el.dataset.src + rows, { headers: { "HX-Request": "true" } }).catch(() => null);
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
}

function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  return template.content;
}

/** Whether two elements say the same; how long something has lasted ticks by itself and does not count,
 * nor do the tokens of forms. */
function same(one, other) {
  const [a, b] = [one, other].map((el) => {
    const copy = el.cloneNode(true);
    copy.classList.remove("new");
    if (!copy.classList.length) copy.removeAttribute("class");
    for (const time of copy.querySelectorAll("time[data-since]")) time.textContent = "";
    for (const input of copy.querySelectorAll("[name=csrfmiddlewaretoken]")) input.removeAttribute("value");
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

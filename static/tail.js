// The live end of a log or a list of events: a websocket sends what is new, already drawn. What one reads stays where it
// is; memory is bounded: far above the end old lines leave, and who reads further up while much comes is paused.

const KEPT = 5000;         // lines on the page while it follows
const HELD = 10000;        // while somebody reads further up; beyond it the tail pauses
const LONGEST_DELAY = 15000;
const ENDS = { 4400: "A filter is wrong", 4403: "No longer open to you", 4404: "This machine is gone" };

for (const el of document.querySelectorAll("[data-tail]")) new Tail(el).start();

function Tail(el) {
  const scroller = el.querySelector("[data-tail-scroll]");
  const state = el.querySelector("[data-tail-state]");
  const pause = el.querySelector("[data-tail-pause]");
  const newest = el.querySelector("[data-tail-newest]");
  const empty = el.querySelector("[data-tail-empty]");
  const down = el.dataset.tail === "end";  // new things come at the end; else at the start
  let last = el.dataset.tailLast;
  let socket = null, timer = 0, delay = 500, paused = false, unseen = 0, held = size();

  this.start = () => {
    toEdge();
    pause.hidden = false;
    pause.addEventListener("click", () => (paused ? resume() : stop(`Paused at ${clock()}`)));
    newest.addEventListener("click", () => { toEdge(); if (paused) resume(); });
    scroller.addEventListener("scroll", seen, { passive: true });
    el.addEventListener("click", (event) => {
      const older = event.target.closest("[data-tail-older]");
      if (older) { event.preventDefault(); loadOlder(older); }
    });
    watchTop();
    connect();
  };

  function connect() {
    timer = 0;
    const url = new URL(el.dataset.tailUrl, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("after", last);
    const mine = socket = new WebSocket(url);
    mine.onmessage = (event) => {
      if (mine !== socket) return;
      show("ok", "Live");
      delay = 500;
      take(JSON.parse(event.data));
    };
    mine.onclose = (event) => {
      if (mine !== socket) return;
      if (ENDS[event.code]) return show("off", ENDS[event.code]);
      show("off", "Not live, trying again");
      timer = setTimeout(connect, delay);
      delay = Math.min(delay * 2, LONGEST_DELAY);
    };
  }

  /** Hang up: what comes meanwhile stays with the server, and is asked for when it goes on. */
  function stop(words) {
    paused = true;
    clearTimeout(timer);
    const old = socket;
    socket = null;
    old?.close();
    show("idle", words);
    pause.querySelector("span").textContent = "Go on";
    pause.querySelector("use").setAttribute("href", "#play");
  }

  function resume() {
    paused = false;
    pause.querySelector("span").textContent = "Pause";
    pause.querySelector("use").setAttribute("href", "#pause");
    show("idle", "Connecting");
    connect();
  }

  function take({ html, count, last: end }) {
    last = end;
    if (!count) return;
    const follow = atEdge();
    const height = scroller.scrollHeight;
    scroller.insertAdjacentHTML(down ? "beforeend" : "afterbegin", html);
    if (!down && !follow) scroller.scrollTop += scroller.scrollHeight - height;
    empty.hidden = true;
    held += count;
    if (follow) {
      toEdge();
      if (held > KEPT) forget();
    } else {
      unseen += count;
      seen();
      if (held > HELD) stop("Paused: much came while you read");
    }
  }

  /** Let go of what is furthest from the end. */
  function forget() {
    const blocks = [...scroller.querySelectorAll(".blk")];
    if (!down) blocks.reverse();
    for (const block of blocks.slice(0, -1)) {
      if (held <= KEPT) break;
      held -= block.querySelectorAll(".ln, li").length;
      block.remove();
    }
    scroller.querySelector("[data-tail-older], [data-tail-top]")?.remove();
    if (down) scroller.insertAdjacentHTML("afterbegin", '<p class="gap" data-tail-top>Older lines left this page; load it again to read them</p>');
  }

  async function loadOlder(link) {
    if (link.dataset.loading) return;
    link.dataset.loading = "yes";
    const answer = await fetch(link.href, { headers: { "HX-Request": "true" } }).catch(() => null);
    delete link.dataset.loading;
    if (!answer?.ok || answer.redirected || !link.isConnected) return;
    const fromEnd = scroller.scrollHeight - scroller.scrollTop;
    link.outerHTML = await answer.text();
    scroller.scrollTop = scroller.scrollHeight - fromEnd;
    held = size();
    watchTop();
  }

  /** Older lines come as one scrolls up to them. */
  function watchTop() {
    const older = scroller.querySelector("[data-tail-older]");
    if (!older) return;
    new IntersectionObserver(([entry], observer) => {
      if (!entry.isIntersecting || scroller.scrollTop > 400 || atEdge()) return;
      observer.disconnect();
      loadOlder(older);
    }, { root: scroller, rootMargin: "200px" }).observe(older);
  }

  function size() {
    return scroller.querySelectorAll(".ln, .evs > li").length;
  }

  function atEdge() {
    return down ? scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 24 : scroller.scrollTop < 24;
  }

  function toEdge() {
    scroller.scrollTop = down ? scroller.scrollHeight : 0;
    seen();
  }

  function seen() {
    const edge = atEdge();
    if (edge) unseen = 0;
    newest.hidden = edge;
    newest.querySelector("span").textContent = unseen ? `Newest, ${unseen} new` : "Newest";
  }

  function show(shape, word) {
    if (state.textContent === word) return;
    state.innerHTML = `<span class="st ${shape}"><svg class="i" aria-hidden="true"><use href="#st-${shape}"/></svg></span>`;
    state.firstChild.append(word);
  }
}

function clock() {
  return new Date().toISOString().slice(11, 19);
}

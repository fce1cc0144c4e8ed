// A form whose effect is said beside it: what is typed is sent to `data-preview`, the answer goes into `data-into`.
const WAIT = 300;

for (const form of document.querySelectorAll("form[data-preview]")) {
  let timer, stop;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      stop?.abort();
      stop = new AbortController();
      const answer = await fetch(form.dataset.preview, { method: "POST", body: new FormData(form), signal: stop.signal }).catch(() => null);
      if (answer?.ok) document.getElementById(form.dataset.into).innerHTML = await answer.text();
    }, WAIT);
  });
}

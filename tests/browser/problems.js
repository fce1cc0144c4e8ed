// What is wrong with the structure of the page, in words; an empty list if nothing.
() => {
  const found = [], shown = (el) => el.checkVisibility();
  if (document.querySelectorAll("h1").length !== 1) found.push("one h1");
  if (document.querySelectorAll("main").length !== 1) found.push("one main");
  if (!document.documentElement.lang || !document.title.endsWith("omni")) found.push("language and title");
  const ids = [...document.querySelectorAll("[id]")].map((el) => el.id);
  for (const id of ids.filter((id, at) => ids.indexOf(id) !== at)) found.push("id twice: " + id);
  for (const el of document.querySelectorAll("use"))
    if (!document.querySelector(el.getAttribute("href"))) found.push("no such icon: " + el.getAttribute("href"));
  for (const el of document.querySelectorAll("button, a[href]"))
    if (shown(el) && !(el.innerText || el.textContent).trim() && !el.getAttribute("aria-label"))
      found.push("no name: " + el.outerHTML.slice(0, 120));
  for (const el of document.querySelectorAll("input:not([type=hidden]), select, textarea"))
    if (shown(el) && !el.labels.length && !el.getAttribute("aria-label")) found.push("no label: " + el.outerHTML.slice(0, 120));
  for (const el of document.querySelectorAll("[aria-describedby], [aria-labelledby]"))
    for (const id of (el.getAttribute("aria-describedby") || el.getAttribute("aria-labelledby")).split(" "))
      if (!document.getElementById(id)) found.push("refers to nothing: " + id);
  if (document.documentElement.scrollWidth > innerWidth) found.push("scrolls sideways");
  const least = innerWidth < 860 ? 24 : 18;
  for (const el of document.querySelectorAll("button, .b, .nav a, .tabbar > *")) {
    const box = el.getBoundingClientRect();
    if (shown(el) && box.height && !el.matches(".go") && (box.height < least || box.width < least))
      found.push("too small to hit: " + el.outerHTML.slice(0, 120));
  }
  return found;
}

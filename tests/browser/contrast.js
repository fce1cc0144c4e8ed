// Texts with less contrast than 4.5:1 (WCAG 2.1 AA).
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const under = (el) => {
    const layers = [];
    for (; el; el = el.parentElement) layers.push(rgb(getComputedStyle(el).backgroundColor));
    return layers.reverse().reduce((below, [r, g, b, a]) =>
      [r, g, b].map((v, i) => v * a / 255 + below[i] * (1 - a / 255)), [255, 255, 255]);
  };
  const found = new Set();
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const el = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !el.checkVisibility() || el.closest(":disabled, .vh, [aria-hidden=true]")) continue;
    const [a, b] = [light(rgb(getComputedStyle(el).color)), light(under(el))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.add(el.outerHTML.slice(0, 100));
  }
  return [...found];
}

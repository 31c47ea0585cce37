"use strict";
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Every picture travels once; its other places copy it.
  for (const img of all("img[data-copy]")) {
    const first = document.getElementById(img.dataset.copy);
    if (first) img.src = first.src;
  }

  // Search and sort: the cards and the sections below them follow together.
  const find = one("#find"), sort = one("#sort"), found = one("#found"), nothing = one("#nothing");
  const lists = [one("#cards"), one("#details")];
  const keys = {
    size: (item) => -item.dataset.size,
    confidence: (item) => +item.dataset.confidence,
    number: (item) => +item.dataset.number,
    purity: (item) => +item.dataset.purity,
  };
  const matches = (item, words) => words.every((word) =>
    /^\d+$/.test(word) && word.length < 4 ? item.dataset.number === word || item.dataset.words.split(" ").includes(word)
      : item.dataset.words.includes(word));
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const list of lists) for (const item of list.children) item.hidden = !matches(item, words);
    const total = lists[0].children.length, shown = all(".card:not([hidden])").length;
    found.textContent = shown === total ? `${total} clusters` : `${shown} of ${total} clusters`;
    nothing.hidden = shown > 0;
  };
  const order = () => {
    const key = keys[sort.value];
    for (const list of lists)
      list.append(...[...list.children].sort((a, b) => key(a) - key(b) || a.dataset.number - b.dataset.number));
  };
  find.addEventListener("input", filter);
  sort.addEventListener("change", order);
  // A link to a cluster that the search has hidden brings it back.
  addEventListener("hashchange", () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target && target.hidden) { find.value = ""; filter(); target.scrollIntoView(); }
  });

  // The map: the nearest point under the pointer tells who it is; a number singles out its cluster.
  const box = one("#mapbox"), svg = one("svg", box), tip = one("#tip");
  const points = all("circle", svg).map((dot) => [+dot.getAttribute("cx"), +dot.getAttribute("cy"), dot]);
  let at = null;
  const leave = () => { if (at) at.classList.remove("at"); at = null; tip.hidden = true; };
  const tile = (index) => {
    const span = one(".tile", tip), { columns, side, width } = box.dataset;
    span.hidden = index === undefined;
    if (span.hidden) return;
    const scale = 96 / side;
    span.style.backgroundSize = `${width * scale}px auto`;
    span.style.backgroundPosition = `${-96 * (index % columns)}px ${-96 * Math.floor(index / columns)}px`;
  };
  const look = (event) => {
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = null, least = 22 ** 2;
    for (const [x, y, dot] of points) {
      const far = (x - p.x) ** 2 + (y - p.y) ** 2;
      if (far < least && !(svg.classList.contains("single") && !dot.parentNode.classList.contains("on"))) [least, best] = [far, dot];
    }
    if (best !== at) leave();
    if (!best) return;
    at = best;
    at.classList.add("at");
    const cluster = at.parentNode.dataset.c;
    one("b", tip).textContent = at.dataset.i;
    one("small", tip).textContent = `${cluster < 0 ? "no cluster" : "cluster " + cluster}, confidence ${at.dataset.q}`;
    tile(at.dataset.t);
    tip.hidden = false;
    const frame = box.getBoundingClientRect(), x = event.clientX - frame.left, y = event.clientY - frame.top;
    tip.style.left = `${x + 16 + tip.offsetWidth > frame.width ? Math.max(0, x - 16 - tip.offsetWidth) : x + 16}px`;
    tip.style.top = `${Math.max(0, Math.min(y + 12, frame.height - tip.offsetHeight - 4))}px`;
  };
  const single = (cluster) => {
    const again = cluster === null || svg.dataset.single === cluster;
    svg.dataset.single = again ? "" : cluster;
    svg.classList.toggle("single", !again);
    for (const part of all("[data-c]", svg)) part.classList.toggle("on", !again && part.dataset.c === cluster);
    for (const button of all(".legend button")) button.setAttribute("aria-pressed", !again && button.dataset.c === cluster);
  };
  for (const button of all(".legend button")) button.addEventListener("click", () => single(button.dataset.c));
  svg.addEventListener("pointermove", look);
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("click", (event) => {
    look(event);
    const name = event.target.closest("text[data-c]");
    if (name) single(name.dataset.c);
    else if (!at) single(null);
  });
})();

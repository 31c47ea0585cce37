"use strict";
(() => {
  // The film of the mixture: every frame is drawn as the still in the page shows the last one.
  const box = document.getElementById("film");
  if (!box) return;
  const one = (selector, root = box) => root.querySelector(selector);
  const film = JSON.parse(document.getElementById("film-data").textContent);
  const { p, k, w, m, v, ends, own } = film, last = w.length - 1;
  if (last < 1) return;
  const [x0, sx, y0, sy] = film.canvas, [low, high] = film.window;
  const shapes = [...box.querySelectorAll("path[data-j]")], names = [...box.querySelectorAll("text[data-j]")];
  const whole = one("path.whole"), bar = one("input"), button = one("button"), word = one("output");
  const gap = document.querySelector("svg.descent"), head = gap && one("line.head", gap);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const FADE = Math.max(3, Math.round(last / 25)), POINTS = 160, REACH = 4, CORNERS = 64, TAU = 2 * Math.PI, n = p === 1 ? 1 : 3;
  const SECONDS = Math.min(16, Math.max(5, last / 10));

  // A component between two frames; one that has gone stays where it was last, and fades.
  const at = (rows, frame, index) => {
    const a = Math.floor(frame), f = frame - a, from = rows[a][index];
    return f > 0 ? from + f * (rows[a + 1][index] - from) : from;
  };
  const state = (j, frame) => {
    const end = ends[j], when = Math.min(frame, end - 1), fade = Math.max(1, Math.min(FADE, last - end + 1));
    const gone = Math.max(0, (frame - end + 1) / fade);
    if (end < 1 || gone >= 1) return null;
    const mean = Array.from({ length: p }, (_, i) => at(m, when, j * p + i));
    const spread = Array.from({ length: n }, (_, i) => at(v, when, j * n + i));
    return { weight: at(w, when, j) * (1 - gone), mean, spread, gone };
  };
  const pdf = (s, x) => s.weight * Math.exp(-0.5 * (x - s.mean[0]) ** 2 / s.spread[0]) / Math.sqrt(TAU * s.spread[0]);
  const curve = (f, from = low, to = high, points = POINTS) => {
    const spots = Array.from({ length: points }, (_, i) => from + (to - from) * i / (points - 1));
    return spots.map((x) => `${(x0 + sx * x).toFixed(1)} ${(y0 + sy * f(x)).toFixed(1)}`).join("L");
  };
  const bell = (s) => {
    const far = REACH * Math.sqrt(s.spread[0]), inside = (x) => Math.min(Math.max(x, low), high);
    const from = inside(s.mean[0] - far), to = inside(s.mean[0] + far);
    const foot = (x) => `${(x0 + sx * x).toFixed(1)} ${y0.toFixed(1)}`;
    return `M${foot(from)}L${curve((x) => pdf(s, x), from, to, CORNERS)}L${foot(to)}`;
  };
  const loop = (s) => {
    const [xx, xy, yy] = s.spread, half = (xx + yy) / 2, root = Math.hypot((xx - yy) / 2, xy);
    const rx = 2 * sx * Math.sqrt(half + root), ry = 2 * sx * Math.sqrt(Math.max(half - root, 0));
    const angle = -0.5 * Math.atan2(2 * xy, xx - yy), c = Math.cos(angle) * rx, d = Math.sin(angle) * rx;
    const x = x0 + sx * s.mean[0], y = y0 + sy * s.mean[1], t = (angle * 180 / Math.PI).toFixed(1);
    const arc = `A${rx.toFixed(1)} ${ry.toFixed(1)} ${t} 1 1 `;
    return `M${(x - c).toFixed(1)} ${(y - d).toFixed(1)}${arc}${(x + c).toFixed(1)} ${(y + d).toFixed(1)}`
      + `${arc}${(x - c).toFixed(1)} ${(y - d).toFixed(1)}Z`;
  };

  let frame = last, shown = -1;
  const draw = () => {
    if (frame === shown) return;
    shown = frame;
    const states = Array.from({ length: k }, (_, j) => state(j, frame));
    for (const shape of shapes) {
      const s = states[shape.dataset.j];
      shape.style.display = s ? "" : "none";
      if (!s) continue;
      shape.setAttribute("d", p === 1 ? bell(s) : loop(s));
      shape.style.opacity = (Math.min(1, 0.12 + Math.sqrt(s.weight / film.full) * 0.88) * (1 - s.gone)).toFixed(3);
      shape.style.setProperty("--c", s.gone > 0 ? film.grey : film.colours[shape.dataset.j]);
    }
    if (whole) whole.setAttribute("d", "M" + curve((x) => states.reduce((sum, s) => sum + (s && !s.gone ? pdf(s, x) : 0), 0)));
    for (const name of names) {
      const s = states[name.dataset.j];
      if (!s) continue;
      name.setAttribute("x", (x0 + sx * s.mean[0]).toFixed(1));
      name.setAttribute("y", (p === 1 ? y0 + sy * pdf(s, s.mean[0]) - 12 : y0 + sy * s.mean[1]).toFixed(1));
      name.style.opacity = Math.min(1, 2 * s.weight / w[last][name.dataset.j]).toFixed(2);
    }
    const whole_frame = Math.round(frame), count = w[whole_frame].filter((x) => x > 0).length;
    const text = `step ${film.steps[whole_frame].toLocaleString("en")} · ${film.merge[whole_frame] ? "merging" : "gradient"}`
      + ` · ${count} component${count === 1 ? "" : "s"}`;
    word.textContent = text;
    bar.value = frame;
    bar.setAttribute("aria-valuetext", text);
    bar.style.setProperty("--at", `${100 * frame / last}%`);
    if (head) for (const end of ["x1", "x2"])
      head.setAttribute(end, (+gap.dataset.left + gap.dataset.across * frame).toFixed(1));
  };

  let playing = false, before = null;
  const tick = (now) => {
    if (!playing) return;
    const since = before === null ? 0 : now - before;
    if (still.matches) {
      // Without motion: one whole frame after the other, at leisure.
      if (before === null || since >= 250) { before = now; frame = Math.min(last, Math.floor(frame) + 1); }
    } else {
      before = now;
      frame = Math.min(last, frame + last * since / (1000 * SECONDS));
    }
    draw();
    if (frame >= last) play(false); else requestAnimationFrame(tick);
  };
  const play = (on) => {
    playing = on;
    before = null;
    button.setAttribute("aria-label", on ? "Pause" : "Play");
    button.classList.toggle("on", on);
    if (!on) return;
    if (frame >= last) { frame = 0; draw(); }
    requestAnimationFrame(tick);
  };
  button.addEventListener("click", () => play(!playing));
  bar.addEventListener("input", () => { play(false); frame = +bar.value; draw(); });
  bar.addEventListener("keydown", (event) => {
    if (event.key === " ") { event.preventDefault(); play(!playing); }
  });
  one(".player").hidden = false;
  draw();
  // It plays once by itself when it comes into view, unless the reader asked for rest.
  if (!still.matches && "IntersectionObserver" in window) {
    const watch = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watch.disconnect();
      if (frame === last && !playing) play(true);
    }, { threshold: 0.6 });
    watch.observe(one("svg.film"));
  }
})();

"use strict";
/* The player of one answer: the frames, and the masks drawn over them. Used by the page that is mailed, by `vglamm view`, and, with
   answers that are still being written, by the page of `vglamm serve`. */

const still = matchMedia("(prefers-reduced-motion: reduce)");

/* COCO counts -> lengths of runs, zeros first. Five bits a character, low ones first; 32 = more follows, 16 of the last = negative;
   from the fourth number on, a number is the difference from the one two before it. */
function runs(counts) {
  const out = [];
  for (let i = 0; i < counts.length;) {
    let x = 0, k = 0, c;
    do { c = counts.charCodeAt(i++) - 48; x |= (c & 31) << (5 * k++); } while (c & 32);
    if (c & 16) x |= -1 << (5 * k);
    out.push(out.length > 2 ? x + out[out.length - 2] : x);
  }
  return out;
}

/* The runs go down the columns; the plane that is returned goes along the rows, as a canvas does. */
function decode(counts, w, h) {
  const plane = new Uint8Array(w * h);
  let at = 0, x0 = w, y0 = h, x1 = 0, y1 = 0, area = 0;
  runs(counts).forEach((length, n) => {
    if (n % 2) for (let p = at; p < at + length; p++) {
      const x = (p / h) | 0, y = p - x * h;
      plane[y * w + x] = 1;
      if (x < x0) x0 = x; if (x >= x1) x1 = x + 1; if (y < y0) y0 = y; if (y >= y1) y1 = y + 1;
      area++;
    }
    at += length;
  });
  return { plane, area, box: [x0, y0, x1, y1] };
}

function tint(pixels, mask, w, h, colour, fill, edge, line) {
  const { plane, box: [x0, y0, x1, y1] } = mask;
  const out = (x, y) => x >= 0 && y >= 0 && x < w && y < h && !plane[y * w + x];
  for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) {
    if (!plane[y * w + x]) continue;
    let rim = false;
    for (let d = 1; d <= line && !rim; d++) rim = out(x - d, y) || out(x + d, y) || out(x, y - d) || out(x, y + d);
    const a = rim ? edge : fill;
    if (!a) continue;
    const i = (y * w + x) * 4, under = pixels[i + 3] / 255, all = a + under * (1 - a);
    for (let c = 0; c < 3; c++) pixels[i + c] = (colour[c] * a + pixels[i + c] * under * (1 - a)) / all;
    pixels[i + 3] = all * 255;
  }
}

/* root: the article. entry: what `vglamm.show.player.entry` tells. src: address of its video or image, or nothing yet. */
class Entry {
  constructor(root, entry, src) {
    Object.assign(this, { root, ...entry, position: entry.key, hovered: new Set(), pinned: new Set(), cache: new Map() });
    this.canvas = root.querySelector("canvas");
    this.layer = Object.assign(document.createElement("canvas"), { width: this.w, height: this.h });
    this.player = root.querySelector("video, .screen img");
    if (src) this.player.src = src;
    this.video = this.player.tagName === "VIDEO" ? this.player : null;
    for (const button of this.buttons()) this.wire(button, +button.dataset.track);
    this.player.addEventListener("click", (e) => this.press(e));
    if (this.video) this.wireVideo();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    this.draw();
  }

  /* Where phrases can be pointed at. */
  scopes() { return [this.root]; }

  buttons() { return this.scopes().flatMap((scope) => [...scope.querySelectorAll("[data-track]")]); }

  wire(button, track) {
    const on = () => { this.hovered.add(track); this.light(); }, off = () => { this.hovered.delete(track); this.light(); };
    button.addEventListener("pointerenter", (e) => e.pointerType === "mouse" && on());
    button.addEventListener("pointerleave", off);
    button.addEventListener("focus", () => button.matches(":focus-visible") && on());
    button.addEventListener("blur", off);
    button.addEventListener("keydown", (e) => {
      if (button.tagName === "BUTTON" || (e.key !== "Enter" && e.key !== " ")) return;
      e.preventDefault();
      button.click();
    });
    button.addEventListener("click", () => {
      if (!this.pinned.delete(track)) { this.pinned.add(track); this.show(track); }
      this.light();
    });
  }

  /* A phrase that was pressed while its object is out of sight: go to where it is first seen. */
  show(track) {
    const masks = this.tracks[track].masks;
    if (masks[this.position] || !this.video || !this.video.paused) return;
    const first = masks.findIndex(Boolean);
    if (first >= 0) this.seek(first);
  }

  wireVideo() {
    const { video, root } = this, range = this.range = root.querySelector("input"), play = root.querySelector(".play");
    play.addEventListener("click", () => this.toggle());
    for (const state of ["play", "pause"]) video.addEventListener(state, () => {
      play.setAttribute("aria-label", video.paused ? "Play" : "Pause");
      play.querySelector("path").setAttribute("d", video.paused ? "M3 1l12 7-12 7z" : "M3 1h4v14H3zM9 1h4v14H9z");
    });
    video.loop = !still.matches;
    video.addEventListener("loadedmetadata", () => this.seek(this.key), { once: true });
    video.addEventListener("seeked", () => this.at(video.currentTime));
    range.addEventListener("input", () => this.seek(this.find(+range.value)));
    range.addEventListener("keydown", (e) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -1e9, End: 1e9 }[e.key];
      if (e.key === " ") this.toggle(); else if (step) this.seek(this.position + step); else return;
      e.preventDefault();
    });
    for (const lane of root.querySelectorAll(".lane")) this.wireLane(lane);
    /* The mask must be that of the very frame on the screen: its own time, where the browser tells it. During a seek the screen
       still shows frames on the way, while the masks are at the goal already. */
    const exact = "requestVideoFrameCallback" in video;
    const tick = (_, frame) => {
      if (!video.seeking && (exact || !video.paused)) this.at(frame && frame.mediaTime !== undefined ? frame.mediaTime : video.currentTime);
      next();
    };
    const next = () => (exact ? video.requestVideoFrameCallback(tick) : requestAnimationFrame(tick));
    next();
  }

  wireLane(lane) {
    lane.addEventListener("click", (e) => {
      const box = lane.getBoundingClientRect();
      this.seek(this.find((e.clientX - box.left) / box.width * this.end));
    });
  }

  /* A click on the picture. */
  press() { if (this.video) this.toggle(); }

  toggle() { return this.video.paused ? this.video.play() : this.video.pause(); }

  find(time) {
    let low = 0, high = this.times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.times[middle] <= time + 0.002) low = middle; else high = middle - 1;
    }
    return low;
  }

  seek(position) {
    const k = Math.max(0, Math.min(this.times.length - 1, position)), next = k + 1 < this.times.length ? this.times[k + 1] : this.end;
    this.video.currentTime = this.times[k] + Math.min((next - this.times[k]) / 2, 0.02);
    this.position = k;
    this.draw();
  }

  at(time) {
    const k = this.find(time);
    if (k !== this.position) { this.position = k; this.draw(); }
  }

  light() {
    const lit = this.lit();
    for (const scope of this.scopes()) scope.classList.toggle("dimming", lit.size > 0);
    for (const button of this.buttons()) {
      const track = +button.dataset.track;
      button.classList.toggle("lit", lit.has(track));
      button.setAttribute("aria-pressed", this.pinned.has(track));
    }
    for (const lane of this.root.querySelectorAll("[data-lane]")) lane.classList.toggle("faded", !lit.has(+lane.dataset.lane));
    this.draw();
  }

  lit() { return new Set([...this.hovered, ...this.pinned]); }

  mask(track, position) {
    const counts = this.tracks[track].masks[position], key = track + ":" + position;
    if (!counts) return null;
    if (!this.cache.has(key)) {
      if (this.cache.size > 48) this.cache.delete(this.cache.keys().next().value);
      this.cache.set(key, this.plane(counts));
    }
    return this.cache.get(key);
  }

  plane(counts) { return decode(counts, this.w, this.h); }

  draw() {
    const { w, h, canvas } = this, layer = this.layer.getContext("2d"), image = layer.createImageData(w, h), lit = this.lit();
    const shown = this.tracks.map((track, n) => ({ ...track, mask: this.mask(n, this.position), on: !lit.size || lit.has(n), n }))
      .filter((one) => one.mask).sort((a, b) => a.on - b.on || b.mask.area - a.mask.area);
    for (const one of shown) {
      const [fill, edge] = !one.on ? [0, 0.3] : lit.size ? [0.6, 1] : [0.48, 1];
      tint(image.data, one.mask, w, h, one.rgb, fill, edge, one.on ? Math.max(2, Math.round(w / 220)) : 1);
    }
    layer.putImageData(image, 0, 0);
    const scale = Math.min(2, window.devicePixelRatio || 1), width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    if (width && height) context.drawImage(this.layer, 0, 0, width, height);
    const taken = [];
    for (const one of shown) if (one.on) this.name(context, one, width, height, scale, taken);
    this.progress();
  }

  name(context, one, width, height, scale, taken) {
    const [x0, y0, x1, y1] = one.mask.box, tall = 20 * scale, size = 12.5 * scale;
    context.font = `600 ${size}px ${getComputedStyle(this.canvas).fontFamily}`;
    let text = one.name.length > 34 ? one.name.slice(0, 33) + "…" : one.name;
    const wide = context.measureText(text).width + 12 * scale, kx = width / this.w, ky = height / this.h;
    const left = Math.max(0, Math.min(width - wide, (x0 + x1) / 2 * kx - wide / 2));
    const tops = [y0 * ky - tall - 3, y0 * ky + 4, y1 * ky + 3, y0 * ky + tall + 6, y0 * ky + 2 * tall + 8].filter((y) => y >= 0 && y + tall <= height);
    const clear = (y) => taken.every((t) => left >= t[0] + t[2] || left + wide <= t[0] || y >= t[1] + tall || y + tall <= t[1]);
    const top = tops.find(clear) ?? tops[0] ?? 0;
    taken.push([left, top, wide]);
    context.fillStyle = one.colour;
    context.beginPath();
    context.roundRect(left, top, wide, tall, 5 * scale);
    context.fill();
    context.fillStyle = one.ink;
    context.textBaseline = "middle";
    context.fillText(text, left + 6 * scale, top + tall / 2 + scale / 2);
  }

  progress() {
    if (!this.range) return;
    const time = this.times[this.position], share = time / this.end * 100;
    this.range.value = time;
    this.range.setAttribute("aria-valuetext", `${(time + this.start).toFixed(1)} seconds`);
    this.root.querySelector(".clock").textContent = `${(time + this.start).toFixed(1)} s`;
    for (const head of this.root.querySelectorAll(".lane u")) head.style.left = share + "%";
  }
}

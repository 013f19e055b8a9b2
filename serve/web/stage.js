/* The player of the page: the one of the mailed page (`Entry` in player.js, a plain script), for one video and several answers about
   it, which grow while they are written. */

/* global Entry, decode, still */
import { el } from "./dom.js";

const LONGEST = 960;
const PLAY = "M3 1l12 7-12 7z", BACK = "M12 2v12L5 8zM3 2h2v12H3z", ON = "M4 2v12l7-6zM11 2h2v12h-2z";

/* media: {url, name, image, size: [height, width], seconds, frames, fps}. */
export class Stage extends Entry {
  constructor(media) {
    const [height, width] = media.size, scale = Math.min(1, LONGEST / Math.max(height, width));
    const [h, w] = [Math.round(height * scale), Math.round(width * scale)];
    const end = Math.max(media.seconds, 1 / 30), root = furniture(media, end);
    super(root, { w, h, start: 0, end, times: grid(media), key: 0, tracks: [] }, media.url);
    Object.assign(this, { media, turn: null, grid: this.times, now: 0, following: false, words: null });
    for (const kind of ["pointerdown", "keydown"]) root.addEventListener(kind, () => { this.following = false; }, true);
    if (this.video) this.wireSteps();
  }

  wireSteps() {
    const { root, video } = this;
    root.querySelector(".back").addEventListener("click", () => this.step(-1));
    root.querySelector(".on").addEventListener("click", () => this.step(1));
    video.muted = true;
    video.addEventListener("seeked", () => { if (this.following && ![null, this.position].includes(this.newest)) this.seek(this.newest); });
    video.addEventListener("error", () => root.classList.add("unplayable"));
  }

  /* Words and lanes of an answer; its masks on the screen. words: the element that holds its phrases. */
  tell(turn, words) {
    this.words?.classList.remove("dimming");
    for (const chip of this.words?.querySelectorAll("[data-track]") ?? []) chip.setAttribute("aria-pressed", false);
    Object.assign(this, { turn, words, tracks: turn.tracks });
    this.hovered.clear();
    this.pinned.clear();
    this.refresh();
  }

  /* Phrases, masks or times of the answer have changed. */
  refresh() {
    this.cache.clear();
    this.times = this.turn.times.length ? this.turn.times : this.grid;
    this.position = this.find(this.now);
    this.furnish();
    this.light();
  }

  /* The masks of one more frame have come. */
  grow(position) {
    this.turn.tracks.forEach((_, track) => this.cache.delete(`${track}:${position}`));
    this.times = this.turn.times;
    this.newest = position;
    this.furnish();
    if (this.following && this.video?.paused && !this.video.seeking) this.seek(position);
    else this.at(this.now, true);
  }

  /* Show each new frame as its masks come, until somebody takes the controls. */
  follow() {
    Object.assign(this, { following: true, newest: null });
    this.video?.pause();
  }

  seek(position) {
    if (!this.video) return this.draw(); // an image has one frame
    super.seek(position);
    this.now = this.times[this.position];
    this.canvas.classList.remove("held");
  }

  at(time, anew = false) {
    const was = this.ahead();
    this.now = time;
    this.canvas.classList.toggle("held", this.held());
    if (anew || was !== this.ahead()) {
      this.position = this.find(time);
      this.draw();
    } else super.at(time);
  }

  /* Whether the frame on the screen is later than the last one that has masks yet. */
  ahead() {
    const last = this.times.at(-1), gap = last - (this.times.at(-2) ?? last);
    return Boolean(this.turn?.busy && this.turn.times.length) && this.now > last + Math.max(gap, 0.04);
  }

  /* Whether the masks on the screen were made for an earlier frame than the one that is shown: they are drawn fainter then. */
  held() {
    const { fps } = this.media;
    return fps > 0 && this.now - this.times[this.find(this.now)] > 1.5 / fps;
  }

  /* A click on an object is about it, as `onobject` says; beside all objects it plays and pauses. */
  press(e) {
    const track = this.hit(e);
    if (track === null || !this.onobject || this.onobject(track) === false) super.press(e);
  }

  /* The track whose mask is on top at a place of the screen, as `draw` lays them over each other; null where none is. */
  hit({ clientX, clientY }) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect(), lit = this.lit();
    const at = Math.floor((clientY - top) / height * this.h) * this.w + Math.floor((clientX - left) / width * this.w);
    const found = this.tracks.map((_, n) => ({ n, on: lit.has(n), mask: this.mask(n, this.position) })).filter(({ mask }) => mask?.plane[at]);
    return found.sort((a, b) => b.on - a.on || a.mask.area - b.mask.area)[0]?.n ?? null;
  }

  step(by) {
    this.following = false;
    this.video?.pause();
    if (this.video) this.seek(this.position + by);
  }

  async toggle() {
    this.following = false;
    if (!this.video.paused) return this.video.pause();
    try {
      await this.video.play();
    } catch (error) {
      if (error.name !== "AbortError" && error.name !== "NotSupportedError") throw error; // paused at once, or unplayable: the page says so
    }
  }

  /* The answer is whole: play it from the beginning, or where motion is not welcome show the frame that shows most. */
  present() {
    if (!this.following || !this.video) return;
    this.following = false;
    if (still.matches) return this.seek(this.turn.key);
    this.seek(0);
    this.toggle();
  }

  pin(track) {
    if (!this.tracks[track]) return;
    if (!this.pinned.delete(track)) {
      this.pinned.add(track);
      this.show(track);
    }
    this.light();
  }

  scopes() { return this.words ? [this.root, this.words] : [this.root]; }

  mask(track, position) { return this.ahead() ? null : super.mask(track, position); }

  plane(counts) {
    const [height, width] = this.media.size;
    return width === this.w ? decode(counts, width, height) : shrink(decode(counts, width, height).plane, width, height, this.w, this.h);
  }

  draw() {
    super.draw();
    this.onframe?.();
  }

  /* One row for each track: its name, and where on the time line it is seen. */
  furnish() {
    const rows = this.root.querySelector(".rows"), { turn, end } = this;
    if (this.video === null || !rows) return;
    while (rows.children.length > 2 * turn.tracks.length) rows.lastChild.remove();
    turn.tracks.forEach((track, number) => {
      if (rows.children.length <= 2 * number) rows.append(...this.row(number));
      const [name, lane] = [rows.children[2 * number], rows.children[2 * number + 1]], spans = turn.seen(number, end);
      for (const part of [name, lane]) part.style.setProperty("--c", track.colour);
      name.lastChild.textContent = name.title = track.name;
      name.ariaLabel = `${track.name}, ${spans.length ? `seen ${spans.map(([a, b]) => `${a.toFixed(1)} to ${b.toFixed(1)}`).join(", ")} s` : "not seen"}`;
      lane.replaceChildren(...bars(spans, end), el("u"));
    });
    this.root.querySelector(".moments").replaceChildren(...(turn.moments.length ? moments(turn.moments, end) : []));
    this.progress();
  }

  row(number) {
    const name = el("button", { type: "button", class: "name", "data-track": number, "aria-pressed": "false" }, el("i"), el("span"));
    const lane = el("div", { class: "lane", "data-lane": number });
    this.wire(name, number);
    this.wireLane(lane);
    return [name, lane];
  }

  /* The page shows another video. */
  leave() {
    if (this.video) this.video.pause();
    URL.revokeObjectURL(this.media.url);
    this.root.remove();
  }
}

/* Every frame of the file, as far as one can step through it before an answer says which ones have masks. */
function grid({ image, frames, fps, seconds }) {
  if (image || !fps) return [0];
  return Array.from({ length: Math.min(frames, Math.ceil(seconds * fps), 100_000) || 1 }, (_, frame) => frame / fps);
}

/* A mask at another size: of each target pixel the one in its middle. */
function shrink(plane, width, height, w, h) {
  const small = new Uint8Array(w * h);
  let x0 = w, y0 = h, x1 = 0, y1 = 0, area = 0;
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
    if (!plane[Math.floor((y + 0.5) * height / h) * width + Math.floor((x + 0.5) * width / w)]) continue;
    small[y * w + x] = 1;
    area += 1;
    if (x < x0) x0 = x; if (x >= x1) x1 = x + 1; if (y < y0) y0 = y; if (y >= y1) y1 = y + 1;
  }
  return { plane: small, area, box: [x0, y0, x1, y1] };
}

const icon = (path) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), line = document.createElementNS(svg.namespaceURI, "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
};

const bars = (spans, end) => spans.map(([from, to]) =>
  el("b", { style: { left: `${from / end * 100}%`, width: `${Math.max(to - from, 0) / end * 100}%` } }));

const moments = (found, end) => [
  el("span", { class: "name plain" }, el("span", {}, "named moment")),
  el("div", { class: "lane moment" }, bars(found, end), el("u")),
];

function furniture({ name, image, size: [height, width] }, end) {
  const player = image ? el("img", { alt: name }) : el("video", { playsinline: true, preload: "auto", "aria-label": name });
  const screen = el("div", { class: "screen", style: { "--ratio": (width / height).toFixed(4) } }, player, el("canvas", { "aria-hidden": "true" }));
  if (image) return el("div", { class: "film" }, screen);
  return el(
    "div", { class: "film" }, screen,
    el("p", { class: "cannot note", role: "note" }, "This browser cannot play the file. The masks are drawn on black; the download with masks plays everywhere."),
    el("div", { class: "lanes" },
      el("div", { class: "transport" },
        el("button", { type: "button", class: "tiny back", "aria-label": "One frame back" }, icon(BACK)),
        el("button", { type: "button", class: "play", "aria-label": "Play" }, icon(PLAY)),
        el("button", { type: "button", class: "tiny on", "aria-label": "One frame on" }, icon(ON)),
        el("span", { class: "clock" })),
      el("input", { type: "range", min: 0, max: end, step: "any", value: 0, "aria-label": "Time" }),
      el("div", { class: "rows" }),
      el("div", { class: "moments" })),
  );
}

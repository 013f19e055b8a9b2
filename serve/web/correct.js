/* Correcting a mask: points on what belongs to the object and on what does not, or a box around it, all on one frame. */

import { el } from "./dom.js";

const DRAG = 6;

/* stage: the player. apply: called with {track, position, points, box}; other: with another track that is to be corrected instead;
   left: when the correction is over. */
export class Correction {
  constructor(stage, track, { apply, other, left }) {
    Object.assign(this, { stage, track, left, points: [], box: null, corner: null, keep: true, position: stage.position });
    const [height, width] = stage.media.size, { name, colour } = stage.tracks[track];
    Object.assign(this, { width, height, cursor: null });
    const told = `Correct the mask of ${name}. Arrow keys move, plus and minus set points, b starts and ends a box, Enter applies, Escape leaves.`;
    this.layer = el("div", { class: "tool", tabindex: "0", role: "application", "aria-label": told, style: { "--c": colour } });
    this.count = el("span", { class: "unseen", role: "status" });
    this.plus = el("button", { type: "button", class: "act", "aria-pressed": "true", onclick: () => this.mode(true) }, "Add");
    this.minus = el("button", { type: "button", class: "act", "aria-pressed": "false", onclick: () => this.mode(false) }, "Take away");
    this.undone = el("button", { type: "button", class: "act", onclick: () => this.undo() }, "Undo");
    this.go = el("button", { type: "button", class: "send", onclick: () => this.finish(apply) }, "Apply");
    const names = stage.tracks.map((one, number) => el("option", { value: number, selected: number === track }, one.name));
    const which = names.length > 1 ? el("select", { "aria-label": "Which mask", onchange: (e) => other(+e.target.value) }, names) : el("b", {}, name);
    this.bar = el(
      "div", { class: "fixing", role: "group", "aria-label": "Correct a mask", style: { "--c": colour } },
      el("p", {}, el("i"), which, el("span", {}, "Click what belongs to it, or drag a box around it.")),
      el("span", { class: "acts" }, el("span", { class: "saves" }, this.plus, this.minus), this.undone, el("button", { type: "button", class: "act", onclick: () => this.leave() }, "Cancel"), this.go),
      this.count,
    );
    this.wire(apply);
    stage.video?.pause();
    stage.root.querySelector(".screen").append(this.layer);
    stage.root.querySelector(".screen").after(this.bar);
    stage.onframe = () => this.moved();
    this.draw();
    this.layer.focus();
  }

  wire(apply) {
    const { layer } = this;
    let from = null;
    layer.addEventListener("pointerdown", (e) => {
      if (!e.isPrimary || e.button > 2) return;
      layer.setPointerCapture(e.pointerId);
      from = { at: this.place(e), x: e.clientX, y: e.clientY, keep: e.button === 0 && !e.shiftKey && this.keep };
      e.preventDefault();
      layer.focus();
    });
    layer.addEventListener("pointermove", (e) => {
      if (!from || Math.hypot(e.clientX - from.x, e.clientY - from.y) < DRAG) return;
      this.box = span(from.at, this.place(e));
      this.draw();
    });
    layer.addEventListener("pointerup", (e) => {
      if (from && Math.hypot(e.clientX - from.x, e.clientY - from.y) < DRAG) this.put(from.at, from.keep);
      from = null;
    });
    layer.addEventListener("pointercancel", () => { from = null; });
    layer.addEventListener("contextmenu", (e) => e.preventDefault());
    layer.addEventListener("keydown", (e) => this.key(e, apply));
  }

  key(e, apply) {
    const by = (e.shiftKey ? 0.0025 : 0.02) * Math.max(this.width, this.height);
    const moves = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] };
    const acts = {
      "+": () => this.put(this.cursor, true), "=": () => this.put(this.cursor, true), " ": () => this.put(this.cursor, this.keep),
      "-": () => this.put(this.cursor, false), b: () => this.turnCorner(), Backspace: () => this.undo(), Enter: () => this.finish(apply), Escape: () => this.leave(),
    };
    if (e.ctrlKey || e.metaKey || e.altKey || !(moves[e.key] || acts[e.key])) return;
    e.preventDefault();
    e.stopPropagation();
    this.cursor ??= this.middle();
    if (moves[e.key]) {
      this.cursor = this.inside([this.cursor[0] + moves[e.key][0], this.cursor[1] + moves[e.key][1]]);
      if (this.corner) this.box = span(this.corner, this.cursor);
      this.draw();
    } else acts[e.key]();
  }

  /* Where the keys start: in the middle of the mask, or of the frame. */
  middle() {
    const mask = this.stage.mask(this.track, this.stage.position), [x0, y0, x1, y1] = mask?.box ?? [0, 0, this.stage.w, this.stage.h];
    return [(x0 + x1) / 2 * this.width / this.stage.w, (y0 + y1) / 2 * this.height / this.stage.h];
  }

  turnCorner() {
    this.corner = this.corner ? null : this.cursor;
    this.draw();
  }

  place(e) {
    const { left, top, width, height } = this.layer.getBoundingClientRect();
    return this.inside([(e.clientX - left) / width * this.width, (e.clientY - top) / height * this.height]);
  }

  inside([x, y]) { return [Math.max(0, Math.min(this.width - 1, x)), Math.max(0, Math.min(this.height - 1, y))]; }

  put(at, keep) {
    this.points.push([...at, keep ? 1 : 0]);
    this.draw();
  }

  undo() {
    if (!this.points.pop()) this.box = this.corner = null;
    this.draw();
  }

  mode(keep) {
    this.keep = keep;
    this.plus.setAttribute("aria-pressed", keep);
    this.minus.setAttribute("aria-pressed", !keep);
  }

  /* Points belong to one frame: on another one they begin anew. */
  moved() {
    if (this.stage.position === this.position) return;
    Object.assign(this, { position: this.stage.position, points: [], box: null, corner: null });
    this.draw();
  }

  draw() {
    const { layer, points, box, cursor } = this, x = (value) => `${value / this.width * 100}%`, y = (value) => `${value / this.height * 100}%`;
    layer.replaceChildren(
      ...(box ? [el("div", { class: "box", style: { left: x(box[0]), top: y(box[1]), width: x(box[2] - box[0]), height: y(box[3] - box[1]) } })] : []),
      ...points.map(([left, top, keep]) => el("i", { class: keep ? "point" : "point not", style: { left: x(left), top: y(top) } })),
      ...(cursor ? [el("i", { class: "cross", style: { left: x(cursor[0]), top: y(cursor[1]) } })] : []),
    );
    this.go.disabled = this.undone.disabled = !points.length && !box;
    const told = `${points.length} point${points.length === 1 ? "" : "s"}${box ? " and a box" : ""}`;
    if (this.count.textContent !== told) this.count.textContent = told;
  }

  finish(apply) {
    if (this.go.disabled) return;
    const { track, position, points, box } = this;
    this.leave();
    apply({ track, position, points, box });
  }

  leave() {
    this.stage.onframe = null;
    this.layer.remove();
    this.bar.remove();
    this.left();
  }
}

const span = ([ax, ay], [bx, by]) => [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];

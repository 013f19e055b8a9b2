/* A question and its answer on the page. */

import { GONE } from "./api.js";
import { el } from "./dom.js";
import { trouble } from "./trouble.js";

const FILES = [["overlay.mp4", "Video with masks", "MP4"], ["answer.json", "The answer as JSON", "JSON"], ["coco.json", "Masks as COCO JSON", "COCO"]];

/* hooks: what a person can do here, each a function: show(view, pressed), which says whether the answer is on the screen then,
   wire(chip, track), save(turn, file), correct(turn), again(turn). */
export class TurnView {
  constructor(turn, { image }, hooks) {
    Object.assign(this, { turn, image, hooks, shown: null, failed: null });
    this.text = el("p", { class: "text", "aria-live": "polite", "aria-busy": "true" });
    this.more = el("div", { class: "more" });
    this.root = el("li", { class: "turn" }, el("h2", { class: "asked" }, turn.question), this.text, this.more);
    /* A phrase of an earlier answer is pointed at: that answer is on the screen before the phrase hears of it, or it hears nothing. */
    for (const kind of ["pointerenter", "focus", "click"]) this.root.addEventListener(kind, (e) => {
      if (!e.target.closest(".chip, .foot") || (kind === "pointerenter" && e.pointerType !== "mouse")) return;
      if (!hooks.show(this, kind === "click") && e.target.closest(".chip")) e.stopPropagation();
    }, true);
    this.render();
  }

  render() {
    const { turn } = this, runs = turn.runs, key = JSON.stringify([runs, turn.nameless, turn.tracks.length]);
    this.root.dataset.state = turn.state;
    if (key !== this.shown) {
      this.text.replaceChildren(...runs.map((run) => this.run(run)), ...turn.nameless.flatMap((track) => [" ", this.chip(track, turn.tracks[track].name)]));
      this.shown = key;
    }
    this.text.setAttribute("aria-busy", turn.busy);
    this.more.replaceChildren(...this.below());
  }

  run({ text, track, open }) {
    if (track !== null && this.turn.tracks[track]) return this.chip(track, text);
    return open && this.turn.busy ? el("span", { class: "coming" }, text) : text;
  }

  /* A span, since a button does not break across lines with the text around it; the player gives it a button's keys. */
  chip(track, text) {
    const { colour, ink } = this.turn.tracks[track];
    const state = { role: "button", tabindex: "0", "data-track": track, "aria-pressed": "false", style: { "--c": colour, "--ink": ink } };
    const made = el("span", { class: "chip", ...state }, text);
    this.hooks.wire(made, track);
    return made;
  }

  below() {
    const { turn, hooks } = this, parts = [];
    if (turn.moments.length) parts.push(el("p", { class: "when" }, `Moment: ${turn.moments.map(([a, b]) => `${a.toFixed(1)} to ${b.toFixed(1)} s`).join(", ")}`));
    if (turn.state === "stopped") parts.push(el("p", { class: "when" }, "Stopped. What was written so far stays here."));
    if (turn.refusal) parts.push(this.card(turn.refusal, () => hooks.again(turn)));
    if (turn.answer && !turn.busy) parts.push(...notes(turn.answer), this.foot());
    return parts;
  }

  /* What went wrong. An answer that the server no longer has does not come back: then there is nothing to try again. */
  card(refusal, again) {
    return trouble(refusal, this.turn.answer && GONE.includes(refusal.status) ? null : again);
  }

  /* Tell of a download that failed, instead of an earlier one. Without a refusal nothing is left to tell. */
  unsaved(refusal = null, again = null) {
    this.failed?.remove();
    this.failed = refusal && this.card(refusal, again);
    if (this.failed) this.more.append(this.failed);
  }

  foot() {
    const { turn, hooks } = this, files = FILES.filter(([name]) => name !== "overlay.mp4" || !this.image);
    return el(
      "div", { class: "foot" },
      el("span", { class: "facts" }, facts(turn)),
      el("span", { class: "acts" },
        turn.tracks.length ? el("button", { type: "button", class: "act fix", onclick: () => hooks.correct(turn) }, "Correct a mask") : null,
        el("span", { class: "saves", role: "group", "aria-label": "Download" },
          files.map(([file, title, word]) => el("button", { type: "button", class: "act", title, "data-file": file, onclick: () => hooks.save(turn, file) }, word)))),
    );
  }
}

function notes(answer) {
  const said = [...answer.warnings];
  if (answer.finish === "length") said.push("The reply reached the token limit and was cut.");
  if (answer.sampling.truncated) said.push("The file is cut short: the video ends at its last good frame.");
  return said.length ? [el("div", { class: "note", role: "note" }, said.map((note) => el("p", {}, note)))] : [];
}

function facts({ timings, answer }) {
  const frames = answer.sampling.grounding_indices.length, seconds = (value) => `${value.toFixed(value < 10 ? 2 : 1)} s`;
  const told = [`first word ${seconds(timings.token)}`];
  if (timings.mask !== null && timings.mask !== undefined) told.push(`first mask ${seconds(timings.mask)}`);
  if (answer.tracks.length) told.push(`${frames} frame${frames === 1 ? "" : "s"}`);
  return told.join(" · ");
}

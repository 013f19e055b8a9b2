/* One question with what has come of its answer so far. */

import { palette } from "./palette.js";
import { writing, written } from "./reply.js";

/* state: "waiting", "writing", "masks", "done", "stopped" or "failed". session, number: where the server keeps the answer. A video may
   have had an earlier session, whose numbers begin at 0 too. marks: of the last correction, whether it went well or not. */
export class Turn {
  constructor(question) {
    Object.assign(this, { question, session: null, number: null, raw: "", tracks: [], times: [], moments: [], answer: null, timings: null, marks: null, refusal: null });
    this.state = "waiting";
  }

  get busy() { return ["waiting", "writing", "masks"].includes(this.state); }

  get runs() { return this.answer ? written(this.answer) : writing(this.raw); }

  /* Tracks that no phrase of the text names. */
  get nameless() {
    const named = new Set(this.runs.map((run) => run.track));
    return this.tracks.map((_, track) => track).filter((track) => !named.has(track));
  }

  say({ piece }) {
    this.raw += piece;
    this.state = "writing";
  }

  find({ track, text }) { this.track(track).name = text ?? this.track(track).name; }

  /* The masks of one frame. */
  see({ position, time, sights }) {
    this.state = "masks";
    this.times[position] = time;
    sights.forEach(({ rle }, track) => { this.track(track).masks[position] = rle?.counts ?? null; });
  }

  end({ answer, session, turn, first_token_s: token, first_mask_s: mask }) {
    this.timings ??= { token, mask }; // those of the question, not of a correction
    Object.assign(this, { session, number: turn });
    this.keep(answer);
  }

  keep(answer) {
    Object.assign(this, { answer, state: "done", times: answer.sampling.grounding_times, moments: answer.moments, refusal: null });
    answer.phrases.forEach((phrase) => this.find(phrase));
    answer.tracks.forEach(({ rle }, track) => { this.track(track).masks = rle.map((mask) => mask?.counts ?? null); });
  }

  track(number) {
    while (this.tracks.length <= number) {
      const track = this.tracks.length;
      this.tracks.push({ ...palette[track % palette.length], name: `object ${track + 1}`, masks: [] });
    }
    return this.tracks[number];
  }

  /* [from, to] in seconds of each unbroken run of frames that show a track. end: of the video. */
  seen(track, end) {
    const spans = [], { masks } = this.tracks[track];
    this.times.forEach((time, position) => {
      if (!masks[position]) return;
      const to = this.times[position + 1] ?? (this.busy ? time : end);
      if (position && masks[position - 1]) spans.at(-1)[1] = to;
      else spans.push([time, to]);
    });
    return spans;
  }

  /* The frame that shows most: the most tracks, then the largest smallest box of them, then the earliest. */
  get key() {
    const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);
    let best = 0, most = [-1, 0];
    this.times.forEach((_, position) => {
      const areas = (this.answer?.tracks ?? []).map(({ boxes }) => boxes[position]).filter(Boolean).map(area);
      const told = [areas.length, Math.min(...areas)];
      if (told[0] > most[0] || (told[0] === most[0] && told[1] > most[1])) [best, most] = [position, told];
    });
    return best;
  }
}

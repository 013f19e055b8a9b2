/* One video with the conversation about it: sending it, asking, correcting, saving. It knows the server and the player, not the page. */

import { GONE, stopped, until } from "./api.js";
import { save } from "./dom.js";
import { Stage } from "./stage.js";
import { Turn } from "./turn.js";

const MANY = 96, LONG = 30;
const LOOK = 600_000;

export class Watch {
  constructor(api, file) {
    Object.assign(this, { api, file, session: null, control: null, stage: null, left: new AbortController() });
    this.looking = setInterval(() => this.look(), LOOK);
  }

  /* Send the video; then there is a stage. told: called with a word on what goes on, "" for nothing. */
  start(told) {
    this.told = told;
    this.ready = this.open();
    return this.ready;
  }

  get busy() { return this.control !== null; }

  async open() {
    const facts = await this.send();
    const { seconds, frames, size, fps, is_image: image } = facts;
    this.stage = new Stage({ url: URL.createObjectURL(this.file), name: this.file.name, image, size, seconds, frames, fps });
    return this.stage;
  }

  async send() {
    this.told("Sending the video");
    const facts = await this.api.upload(this.file, { signal: this.left.signal, told: (share) => share < 1 && this.told(`Sending the video, ${Math.round(100 * share)} %`) });
    this.video = facts.video;
    this.told("");
    return facts;
  }

  /* As many frames with masks as one wants to wait for. */
  get rate() {
    const { frames, seconds } = this.stage.media;
    return frames <= MANY ? "every" : seconds <= LONG ? "4" : "1";
  }

  /* Answer a turn as it comes. changed: called after each event; begun: when its video is there. */
  async ask(turn, rate, { begun, changed }) {
    await this.during(turn, async (signal) => {
      await until(this.ready, signal);
      begun();
      this.told("Looking at the video");
      this.stage.follow();
      try {
        await this.stream(turn, rate, changed, signal);
      } catch (error) {
        if (!GONE.includes(error.status) || turn.raw) throw error;
        this.session = null; // it has expired; the file is still here
        await this.send();
        await this.stream(turn, rate, changed, signal);
      }
      this.stage.present();
    });
  }

  async stream(turn, rate, changed, signal) {
    const frames = rate === "every" ? { every_frame: true } : { fps: Number(rate) };
    const about = this.session ? { session: this.session } : { video: this.video, ...(this.stage.media.image ? {} : frames) };
    const body = { ...about, question: turn.question, stream: true };
    await this.receive(turn, this.api.events("answers", body, signal), changed);
  }

  /* Mark what a mask should have been; the answer of the turn is replaced. */
  async correct(turn, marks, changed) {
    const before = turn.answer, { box, ...rest } = marks;
    turn.marks = marks;
    await this.during(turn, async (signal) => {
      this.told("Correcting");
      this.stage.follow();
      const body = { turn: turn.number, ...rest, ...(box && { box }), stream: true };
      await this.receive(turn, this.api.events(`sessions/${turn.session}/corrections`, body, signal), changed);
    });
    if (turn.state === "done") return;
    const { refusal } = turn;
    turn.keep(before);
    turn.refusal = refusal;
    this.stage.refresh();
    changed();
  }

  async receive(turn, events, changed) {
    for await (const { event, data } of events) {
      if (event === "text") {
        this.told("Writing");
        turn.say(data);
      } else if (event === "phrase") {
        turn.find(data);
        this.stage.refresh();
      } else if (event === "masks") {
        this.told("Drawing masks");
        turn.see(data);
        this.stage.grow(data.position);
      } else if (event === "answer") {
        this.session ??= data.session; // not that of a correction, which may be an earlier one
        turn.end(data);
        this.stage.refresh();
      }
      changed();
    }
  }

  /* One thing at a time; what stops it ends up in the turn. */
  async during(turn, work) {
    this.control = new AbortController();
    turn.state = turn.answer ? "masks" : "waiting";
    turn.refusal = null;
    try {
      await work(this.control.signal);
    } catch (error) {
      if (!stopped(error) && error.name !== "Refusal") throw error;
      turn.state = stopped(error) ? "stopped" : "failed";
      turn.refusal = stopped(error) ? null : error;
    } finally {
      this.control = null;
      this.told("");
    }
  }

  stop() { this.control?.abort(); }

  /* Somebody looks at the answers, which is use of the session: it does not expire meanwhile. */
  look() {
    if (this.session && !document.hidden) this.api.call(`sessions/${this.session}`).catch(() => {}); // if it is gone, the next question says so
  }

  async save(turn, file) {
    const response = await this.api.call(`sessions/${turn.session}/turns/${turn.number}/${file}`);
    const stem = this.file.name.replace(/\.[^.]*$/, "") || "answer";
    save(await response.blob(), `${stem}-${turn.number}-${file}`);
  }

  /* The page turns to another video: the server may forget this one. */
  leave() {
    this.stop();
    this.left.abort();
    clearInterval(this.looking);
    this.stage?.leave();
    if (this.session) this.api.call(`sessions/${this.session}`, { method: "DELETE" }).catch(() => {}); // it expires by itself
  }

  turn(question) { return new Turn(question); }
}

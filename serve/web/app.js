/* The page: pick a video, talk about it. */

import { Api, stopped } from "./api.js";
import { Correction } from "./correct.js";
import { askToken, help, wireTheme } from "./dialogs.js";
import { byId, el } from "./dom.js";
import { fill } from "./gallery.js";
import { listen } from "./keys.js";
import { TurnView } from "./talk.js";
import { trouble } from "./trouble.js";
import { Watch } from "./watch.js";

const COMMON = ["What is in the video?", "Describe what moves."];
const api = new Api(askToken);
const question = byId("question"), rate = byId("rate"), turns = byId("turns");
const narrow = matchMedia("(max-width: 56rem)");

/* What is on the page: the video, the answers about it, the one whose masks are shown, the correction that is made. */
let watch = null, views = [], shown = null, fixing = null, hints = COMMON;

function view(name) {
  document.body.dataset.view = name;
  byId("pick").hidden = name !== "pick";
  byId("work").hidden = byId("another").hidden = name !== "work";
  byId("about").textContent = "";
}

function told(word) {
  const now = byId("now");
  if (now.textContent !== word) now.textContent = word;
}

/* Everything that depends on whether an answer is on its way. */
function settle() {
  const busy = Boolean(watch?.busy);
  byId("send").hidden = busy;
  byId("stop").hidden = !busy;
  rate.disabled = busy || Boolean(watch?.session);
  const asked = new Set(views.map(({ turn }) => turn.question)), open = hints.filter((hint) => !asked.has(hint));
  byId("hints").replaceChildren(...(busy ? [] : open.map((hint) => el("button", { type: "button", class: "hint", onclick: () => ask(hint) }, hint))));
}

async function take(file, clip = null) {
  leave();
  view("work");
  byId("refused").replaceChildren();
  hints = clip?.questions.length ? clip.questions : COMMON;
  const mine = watch = new Watch(api, file);
  byId("about").textContent = file.name;
  byId("stage").replaceChildren(el("div", { class: "sending" }, el("b", {}, file.name), el("span", {}, "One moment")));
  settle();
  if (!narrow.matches) question.focus();
  try {
    const stage = await mine.start((word) => mine === watch && told(word));
    if (mine !== watch) return stage.leave();
    byId("stage").replaceChildren(stage.root);
    stage.onobject = (track) => correct(shown?.turn, track);
    const { seconds, size, image } = stage.media;
    byId("about").textContent = `${file.name} · ${image ? "" : `${seconds.toFixed(1)} s · `}${size[1]} × ${size[0]}`;
    rate.value = mine.rate;
    rate.parentElement.hidden = image;
  } catch (error) {
    if (stopped(error)) return;
    if (error.name !== "Refusal") throw error;
    leave();
    view("pick");
    byId("refused").replaceChildren(trouble(error, () => take(file, clip)));
  }
}

function leave() {
  fixing?.leave();
  watch?.leave();
  watch = shown = null;
  views = [];
  turns.replaceChildren();
  byId("stage").replaceChildren();
  told("");
}

/* Whether an answer is on the screen, now that it is pointed at. A correction gives way to a press only. */
function show(turnView, pressed) {
  if (shown !== turnView && watch?.stage && !watch.busy && (pressed || !fixing)) put(turnView);
  return shown === turnView;
}

function put(turnView) {
  fixing?.leave();
  shown = turnView;
  for (const other of views) other.root.toggleAttribute("data-current", other === turnView);
  watch.stage.tell(turnView.turn, turnView.root);
}

async function ask(text, again = null) {
  const mine = watch;
  if (!text.trim() || !mine || mine.busy) return;
  const turn = mine.turn(text.trim());
  const hooks = {
    show, correct, wire: (chip, track) => mine.stage.wire(chip, track),
    save: (which, file) => save(turnView, which, file), again: (which) => retry(turnView, which),
  };
  const turnView = new TurnView(turn, { image: false }, hooks);
  again?.root.remove();
  views = [...views.filter((other) => other !== again), turnView];
  turns.append(turnView.root);
  question.value = "";
  grow();
  const changed = () => {
    if (mine !== watch) return;
    mine.stage?.hovered.clear(); // chips that were pointed at are drawn anew
    turnView.render();
  };
  const begun = () => {
    turnView.image = mine.stage.media.image;
    if (mine === watch) put(turnView);
  };
  const work = mine.ask(turn, rate.value, { begun, changed });
  settle();
  turnView.root.scrollIntoView({ block: "end" });
  try {
    await work;
    changed();
  } finally {
    settle();
  }
  if (mine === watch) turnView.root.scrollIntoView({ block: "end" });
}

const retry = (turnView, turn) => (turn.marks ? amend(turnView, turn.marks) : ask(turn.question, turnView));

async function save(turnView, turn, file) {
  turnView.unsaved();
  try {
    told("Preparing the file");
    await watch.save(turn, file);
    told("Saved");
  } catch (error) {
    if (error.name !== "Refusal") throw error;
    told("");
    turnView.unsaved(error, () => save(turnView, turn, file));
  }
}

function correct(turn = shown?.turn, track = null) {
  const mine = watch;
  if (!turn?.answer || !turn.tracks.length || mine.busy || fixing) return false;
  const turnView = views.find((one) => one.turn === turn), { stage } = mine, apply = (marks) => amend(turnView, marks);
  if (shown !== turnView) put(turnView);
  const chosen = track ?? [...stage.pinned][0] ?? 0;
  stage.pinned.clear();
  stage.pin(chosen);
  const other = (next) => {
    fixing.leave();
    correct(turn, next);
  };
  fixing = new Correction(stage, chosen, { apply, other, left: () => { fixing = null; } });
}

/* Correct the mask of an answer by these marks. */
async function amend(turnView, marks) {
  const mine = watch, { turn } = turnView;
  if (mine.busy) return;
  fixing?.leave();
  if (shown !== turnView) put(turnView);
  const work = mine.correct(turn, marks, () => mine === watch && turnView.render());
  turnView.render();
  settle();
  try {
    await work;
    if (mine !== watch) return;
    turnView.render();
    if (turn.state === "done" && !turn.refusal) mine.stage.seek(marks.position);
  } finally {
    settle();
  }
}

/* The question's field is as high as what is in it. */
function grow() {
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

function wire() {
  const file = byId("file"), drop = byId("drop");
  file.addEventListener("change", () => {
    if (file.files.length) take(file.files[0]);
    file.value = "";
  });
  let over = 0;
  const lit = (by) => drop.classList.toggle("over", (over = Math.max(0, over + by)) > 0);
  document.addEventListener("dragenter", () => lit(1));
  document.addEventListener("dragleave", () => lit(-1));
  document.addEventListener("dragover", (e) => e.preventDefault());
  document.addEventListener("drop", (e) => {
    e.preventDefault();
    lit(-over);
    if (e.dataTransfer.files.length) take(e.dataTransfer.files[0]);
  });
  byId("composer").addEventListener("submit", (e) => {
    e.preventDefault();
    ask(question.value);
  });
  question.addEventListener("input", grow);
  question.addEventListener("keydown", (e) => {
    if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
    e.preventDefault();
    ask(question.value);
  });
  byId("stop").addEventListener("click", () => watch?.stop());
  byId("another").addEventListener("click", () => {
    leave();
    view("pick");
    byId("file").focus();
  });
  byId("keys").addEventListener("click", help);
}

wire();
wireTheme();
listen({
  help, correct: () => correct(),
  toggle: () => (watch?.stage?.video ? void watch.stage.toggle() : false),
  step: (by) => (watch?.stage?.video ? watch.stage.step(by) : false),
  pin: (track) => (watch?.stage ? watch.stage.pin(track) : false),
  question: () => (watch ? question.focus() : false),
  escape: () => (fixing ? fixing.leave() : watch?.busy ? watch.stop() : false),
});
fill(byId("gallery"), api, take);

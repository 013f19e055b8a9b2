"use strict";
/* The viewer of a run. Pages come whole from the server; this searches while one types, loads a row's video, and knows the keys. */

const press = (id) => document.getElementById(id)?.click();

/* Search while one types: the same list with other words, put in the place of this one. */
class Search {
  constructor(form) {
    this.form = form;
    this.last = null;
    form.q.addEventListener("input", () => {
      clearTimeout(this.soon);
      this.soon = setTimeout(() => this.run(), 180);
    });
    form.q.addEventListener("keydown", (e) => e.key === "Escape" && form.q.blur());
  }

  async run() {
    this.last?.abort();
    this.last = new AbortController();
    const address = "/?" + new URLSearchParams([...new FormData(this.form)].filter(([, value]) => value));
    try {
      const page = await (await fetch(address, { signal: this.last.signal })).text();
      const found = new DOMParser().parseFromString(page, "text/html");
      if (!found.getElementById("rows")) return this.form.submit();
      for (const id of ["states", "rows", "pages"]) document.getElementById(id).replaceWith(found.getElementById(id));
      document.getElementById("told").textContent = found.getElementById("told").textContent;
      history.replaceState(null, "", address);
    } catch (error) {
      if (error.name !== "AbortError") this.form.submit();
    }
  }
}

/* A row: masks first, then the video under them; black if the video is gone, and a word why. */
class Row {
  constructor(main) {
    this.id = main.dataset.row;
    this.article = main.querySelector("article");
    this.trouble = document.getElementById("trouble");
    this.screen = this.article.querySelector(".screen");
    this.entry = null;
    this.load();
  }

  async load() {
    this.screen.classList.add("waiting");
    const video = this.ask("/video").catch((error) => error);
    try {
      this.entry = new Entry(this.article, await (await this.ask("/masks")).json());
      let found = await video;
      if (found instanceof Error) {
        this.tell("The masks stand on black, since their video cannot be shown", found);
        found = await this.ask("/black");
      }
      this.entry.player.src = URL.createObjectURL(await found.blob());
    } catch (error) {
      this.tell("This answer cannot be shown", error);
    }
    this.screen.classList.remove("waiting");
  }

  async ask(path) {
    const answer = await fetch(`${path}?id=${encodeURIComponent(this.id)}`);
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => ({ got: `no answer (${answer.status})`, expected: "the viewer", fix: "load the page again" }));
    throw Object.assign(new Error(said.got), said);
  }

  tell(what, { message, got, fix }) {
    const lines = [`${what}: ${got ?? message}.`, fix ? `To do: ${fix}.` : ""].filter(Boolean);
    this.trouble.replaceChildren(...lines.map((line) => Object.assign(document.createElement("p"), { textContent: line })));
    this.trouble.hidden = false;
  }

  play() {
    if (this.entry?.video?.readyState) this.entry.toggle();
  }
}

/* Keys of the list: from row to row without a mouse. */
function walk(step) {
  const links = [...document.querySelectorAll("#rows a")];
  const at = links.findIndex((link) => link === document.activeElement || link.matches(":target > a"));
  const to = at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step;
  if (links[to]) {
    if (location.hash) history.replaceState(null, "", location.pathname + location.search);
    links[to].focus();
  }
}

/* On a phone the rows come first. */
const summary = document.querySelector(".summary");
if (summary && matchMedia("(max-width: 52rem)").matches) summary.open = false;

const form = document.querySelector("form[role=search]");
const main = document.querySelector("main[data-row]");
const search = form && new Search(form);
const row = main && new Row(main);

const keys = form
  ? { j: () => walk(1), k: () => walk(-1), n: () => press("next"), p: () => press("previous"), "/": () => form.q.select() }
  : { j: () => press("next"), k: () => press("previous"), ArrowRight: () => press("next"), ArrowLeft: () => press("previous"), Escape: () => press("up") };
if (row) keys[" "] = () => row.play();

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || e.target.matches("input[type=search]")) return;
  const own = e.key === " " || e.key.startsWith("Arrow");
  if (own && e.target.matches("input, button, summary, a, [role=button]")) return;
  if (keys[e.key]) {
    e.preventDefault();
    keys[e.key]();
  }
});

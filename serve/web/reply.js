/* Text of an answer as runs: {text, track, open}. track: of a phrase with a mask, else null; open: a phrase that is still being written
   or waits for its [SEG]. While an answer is written its raw text is read here as `vglamm.language.phrases` does; when it is whole, its
   own spans count. */

const TAGS = /(<p>|<\/p>|\[SEG\])/;
const CUT_TAG = /(?:<\/?p?|\[(?:S(?:EG?)?)?)$/;
const NO_SPACE_BEFORE = /^(?:[.,;:!?…]+(?![\p{L}\p{N}_])|[)\]}]|['’](?:s|re|ll|ve|d|m|t)(?![\p{L}\p{N}_]))/u;
const WORD = /[\p{L}\p{N}]/u;

class Reader {
  constructor() {
    Object.assign(this, { runs: [], closed: [], open: null, space: "", afterTag: false, tail: "", tracks: 0 });
  }

  read(piece) {
    if (piece === "<p>") return this.begin();
    if (piece === "</p>") return this.close();
    if (piece === "[SEG]") return this.ground();
    if (this.open && !this.open.text) piece = piece.trimStart();
    for (const part of piece.split(/(\s+)/)) {
      if (!part) continue;
      if (/^\s/.test(part)) this.space = "\n".repeat(Math.min(part.split("\n").length - 1, 2)) || " ";
      else this.word(part);
    }
  }

  word(word) {
    const between = this.between(word);
    if (this.open && !this.open.text) {
      this.plain(between);
      this.runs.push(this.open);
      this.open.text = word;
    } else if (this.open) this.open.text += between + word;
    else this.plain(between + word);
    Object.assign(this, { space: "", afterTag: false, tail: word.at(-1) });
  }

  plain(text) {
    const last = this.runs.at(-1);
    if (last && !last.phrase) last.text += text;
    else if (text) this.runs.push({ text, phrase: false, track: null, open: false });
  }

  between(word) {
    const { tail } = this;
    if (!tail) return "";
    if (this.space.includes("\n")) return this.space;
    if (NO_SPACE_BEFORE.test(word)) return "";
    if (this.space) return "([{".includes(tail) ? "" : " ";
    const glued = this.afterTag && (WORD.test(tail) || ".,;:!?)]}".includes(tail)) && (WORD.test(word[0]) || "([{".includes(word[0]));
    return glued ? " " : "";
  }

  begin() {
    if (this.open) Object.assign(this.open, { phrase: false, open: false });
    Object.assign(this, { open: { text: "", phrase: true, track: null, open: true }, afterTag: true });
  }

  close() {
    Object.assign(this, { space: "", afterTag: true });
    if (this.open) this.closed.push(this.open.text ? this.open : null);
    this.open = null;
  }

  ground() {
    Object.assign(this, { space: "", afterTag: true });
    const phrase = this.closed.pop();
    if (phrase) Object.assign(phrase, { track: this.tracks, open: false });
    this.tracks += 1;
  }
}

/* Runs of raw text that may go on. */
export function writing(raw) {
  const reader = new Reader();
  for (const piece of raw.replace(CUT_TAG, "").split(TAGS)) reader.read(piece);
  return reader.runs.map(({ text, track, open }) => ({ text, track, open }));
}

/* Runs of a whole answer; spans count code points, not the units of JavaScript's strings. */
export function written({ text, phrases }) {
  const points = [...text], runs = [];
  let at = 0;
  const push = (end, track) => end > at && runs.push({ text: points.slice(at, end).join(""), track, open: false });
  for (const { start, end, track } of phrases.filter((phrase) => phrase.start !== null).sort((a, b) => a.start - b.start)) {
    if (start < at || end <= start) continue;
    push(start, null);
    at = start;
    push(end, track);
    at = end;
  }
  push(points.length, null);
  return runs;
}

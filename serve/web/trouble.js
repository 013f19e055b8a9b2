/* What went wrong, in words for people, by status; what the server said of it stands below. */

import { el } from "./dom.js";

const WORDS = {
  0: ["The server cannot be reached", "The connection broke, or the server is not running."],
  400: ["The server did not understand this", "This looks like a fault of the page. Load it again."],
  401: ["Not without the token", "This server answers to those who have its token."],
  403: ["This is not allowed here", "The server refused the request."],
  404: ["This is gone", "The server no longer has this video or answer."],
  408: ["This took too long", "The server gave up waiting. A shorter video or fewer masks may help."],
  409: ["This is in use", "Another request works on the same conversation. Try again in a moment."],
  410: ["The conversation has expired", "The server has forgotten what was said about this video."],
  413: ["This video is too large", "Cut it shorter, or make it smaller, and try again."],
  415: ["This is not a video", "Choose a video or a picture that FFmpeg can read."],
  422: ["This cannot be answered", "Something about the question or the video does not fit."],
  429: ["One at a time", "You already have as many questions in flight as one may have."],
  499: ["Stopped", "The request ended before its answer."],
  503: ["The server is busy", "All places are taken. It asks to try again in a moment."],
  504: ["This took too long", "The server gave up waiting. A shorter video or fewer masks may help."],
};
const VIDEO = ["This video cannot be used", "Choose another file: a video or a picture that plays from its beginning."];
const CODES = {
  video_unreadable: VIDEO, video_error: VIDEO, video_frame_error: VIDEO, video_too_large: WORDS[413], session_gone: WORDS[410], not_kept: WORDS[404],
  video_not_found: WORDS[404], too_many_requests: WORDS[429], overloaded: WORDS[503], worker_lost: WORDS[503], request_too_slow: WORDS[408],
};
const AGAIN = new Set([0, 401, 404, 408, 409, 410, 429]);

/* A card that tells of a refusal. again: what a press on its button does; without it there is no button. */
export function trouble(refusal, again) {
  const { status, code, message, requestId, retryAfter } = refusal;
  const [head, hint] = CODES[code] ?? WORDS[status] ?? ["Something went wrong", "This is a fault of the server, not yours."];
  const offered = again && (AGAIN.has(status) || status >= 500);
  const card = el(
    "div", { class: "trouble", role: "alert" },
    el("b", {}, head), el("p", {}, hint),
    message ? el("p", { class: "said" }, message) : null,
    requestId ? el("p", { class: "id" }, `Request ${requestId}`) : null,
  );
  if (offered) card.append(retry(retryAfter, again));
  return card;
}

/* A button that can be pressed once the time that the server asked for is over. */
function retry(seconds, again) {
  const button = el("button", { type: "button", class: "plain", onclick: again }, "Try again");
  if (!seconds) return button;
  const until = performance.now() + 1000 * seconds;
  const tick = () => {
    const left = Math.ceil((until - performance.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left > 0) setTimeout(tick, 250);
  };
  tick();
  return button;
}

/* The HTTP interface as the page uses it: refusals as errors, the token, uploads that tell how far they are, events as they come. */

const BASE = new URL("v1/", document.baseURI);
/* A stream that fails has a status of 200 already; its error has the code that another response would have had a status for. */
const LATE = {
  video_unreadable: 422, video_frame_error: 422, video_error: 422, dialogue_error: 422, mask_error: 422, request_refused: 422,
  video_too_large: 413, request_too_large: 413, video_not_found: 404, not_kept: 404, model_unknown: 404, session_gone: 410, in_use: 409,
  request_too_slow: 408, too_many_requests: 429, unauthorised: 401, forbidden: 403, url_refused: 403, overloaded: 503, worker_lost: 503,
};
/* What the server no longer has. */
export const GONE = [404, 410];
const TOKEN = "vglamm-token";

/* A status that is no success, or no answer at all (status 0). retryAfter: seconds that the server asks to wait, or null. */
export class Refusal extends Error {
  constructor(status, { code = "", message = "", request_id = "" } = {}, retryAfter = null) {
    super(message);
    Object.assign(this, { name: "Refusal", status, code, requestId: request_id, retryAfter });
  }
}

export const stopped = (error) => error?.name === "AbortError";

/* A wait that a signal ends. */
export const until = (work, signal) => Promise.race([work, new Promise((_, reject) => {
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
})]);

export class Api {
  /* askToken: (whether one was wrong) -> a token, or null if there is none to be had. */
  constructor(askToken) { this.askToken = askToken; }

  get token() { return sessionStorage.getItem(TOKEN); }

  get headers() { return this.token ? { Authorization: `Bearer ${this.token}` } : {}; }

  async json(path, options) { return (await this.call(path, options)).json(); }

  /* The response of a success. json: a body to send. A 401 asks for the token and tries again. */
  async call(path, { method = "GET", json, signal } = {}) {
    const body = json === undefined ? undefined : JSON.stringify(json);
    const kind = body === undefined ? {} : { "Content-Type": "application/json" };
    const send = async () => {
      try {
        return await fetch(new URL(path, BASE), { method, body, signal, headers: { ...kind, ...this.headers } });
      } catch (error) {
        throw stopped(error) ? error : new Refusal(0);
      }
    };
    for (;;) {
      const response = await send();
      if (response.ok) return response;
      if (response.status === 401 && (await this.renew())) continue;
      throw refusal(response.status, await response.text(), response.headers.get("Retry-After"));
    }
  }

  /* What the server found the file to be. told: called with the share that was sent, 0 to 1. */
  async upload(file, { signal, told } = {}) {
    for (;;) {
      const { status, text, retryAfter } = await this.send(file, signal, told);
      if (status >= 200 && status < 300) return JSON.parse(text);
      if (status === 401 && (await this.renew())) continue;
      throw refusal(status, text, retryAfter);
    }
  }

  send(file, signal, told) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", new URL("videos", BASE));
      request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
      for (const [name, value] of Object.entries(this.headers)) request.setRequestHeader(name, value);
      request.upload.addEventListener("progress", (e) => e.lengthComputable && told?.(e.loaded / e.total));
      request.addEventListener("load", () => resolve({ status: request.status, text: request.responseText, retryAfter: request.getResponseHeader("Retry-After") }));
      request.addEventListener("error", () => reject(new Refusal(0)));
      request.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
      signal?.addEventListener("abort", () => request.abort(), { once: true });
      request.send(file);
    });
  }

  /* {event, data} of a stream, one by one; an `error` event is thrown, and so is an end without `answer`. */
  async *events(path, json, signal) {
    const response = await this.call(path, { method: "POST", json, signal });
    let whole = false;
    try {
      for await (const { event, data } of messages(response.body)) {
        if (event === "error") throw new Refusal(LATE[data.error.code] ?? 500, data.error);
        whole ||= event === "answer";
        yield { event, data };
      }
    } catch (error) {
      throw error instanceof TypeError ? new Refusal(0) : error;
    }
    if (!whole) throw new Refusal(0);
  }

  async renew() {
    const token = await this.askToken(Boolean(this.token));
    if (token) sessionStorage.setItem(TOKEN, token);
    return Boolean(token);
  }
}

function refusal(status, text, retryAfter) {
  const seconds = Number.parseFloat(retryAfter);
  let said = {};
  try {
    said = JSON.parse(text).error ?? {};
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error; // a proxy in between says it in its own words
  }
  return new Refusal(status, said, Number.isFinite(seconds) ? seconds : null);
}

/* Server-sent events of a body: blocks of `field: value` lines with an empty line behind each. */
export async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const lines = block.split(/\r?\n/).filter((line) => line && !line.startsWith(":"));
        const field = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trimStart());
        const data = field("data").join("\n");
        if (data) yield { event: field("event")[0] ?? "message", data: JSON.parse(data) };
      }
    }
  } finally {
    await reader.cancel().catch(() => {}); // a stream that broke cannot be cancelled, and need not be
  }
}

/* Clips to start with. */

import { el } from "./dom.js";
import { trouble } from "./trouble.js";

/* Fill the list. pick: called with a file and the questions that fit it. */
export async function fill(list, api, pick) {
  try {
    const { clips } = await api.json("gallery");
    const cards = clips.map((clip) => card(clip, pick));
    list.replaceChildren(...cards.map(({ root }) => root));
    await Promise.all(cards.map(({ load }) => load(api)));
  } catch (error) {
    if (error.name !== "Refusal") throw error;
    list.replaceChildren(el("li", { class: "whole" }, trouble(error, () => fill(list, api, pick))));
  }
}

function card(clip, pick) {
  const video = el("video", { playsinline: true, loop: true, preload: "auto", tabindex: "-1", "aria-hidden": "true" });
  video.muted = true;
  let content = null;
  const button = el(
    "button", { type: "button", class: "card", disabled: true, "data-clip": clip.name, onclick: () => pick(new File([content], `${clip.name}.mp4`, { type: "video/mp4" }), clip) },
    el("span", { class: "frame" }, video, el("span", { class: "long" }, `${clip.seconds.toFixed(1)} s`)),
    el("b", {}, clip.title), el("span", { class: "sample" }, clip.questions[0] ?? ""),
  );
  const play = () => video.play().catch(() => {}); // the pointer left before it began
  for (const kind of ["pointerenter", "focus"]) button.addEventListener(kind, play);
  for (const kind of ["pointerleave", "blur"]) button.addEventListener(kind, () => video.pause());
  const root = el("li", {}, button, clip.credit ? el("small", {}, clip.credit) : null);
  const load = async (api) => {
    content = await (await api.call(clip.url.replace(/^\/v1\//, ""))).blob();
    video.src = URL.createObjectURL(content);
    button.disabled = false;
  };
  return { root, load };
}

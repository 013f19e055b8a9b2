/* The two dialogs and the switch of colours. */

import { byId } from "./dom.js";

let asking = null;

/* A token from the person in front of the page, null if there is none. Whoever asks while it is asked for gets the same answer. */
export function askToken(wrong) {
  asking ??= ask(wrong).finally(() => { asking = null; });
  return asking;
}

async function ask(wrong) {
  const dialog = byId("token"), value = byId("token-value"), why = byId("token-why");
  why.classList.toggle("wrong", wrong);
  if (wrong) why.textContent = "That was not the token. Ask whoever runs this server: it is in the file given with --token-file.";
  value.value = dialog.returnValue = "";
  byId("token-cancel").onclick = () => dialog.close("");
  dialog.showModal();
  value.focus();
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  return dialog.returnValue === "go" ? value.value.trim() : null;
}

export const help = () => byId("shortcuts").showModal();

export function wireTheme() {
  const button = byId("theme"), root = document.documentElement;
  const told = () => button.setAttribute("aria-pressed", root.dataset.theme === "dark");
  button.addEventListener("click", () => {
    localStorage.setItem("vglamm-theme", root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark");
    told();
  });
  new MutationObserver(told).observe(root, { attributeFilter: ["data-theme"] });
  told();
}

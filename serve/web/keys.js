/* Keys of the page; where one types, and in dialogs, they are letters. */

export function listen(act) {
  const keys = {
    " ": () => act.toggle(), ArrowLeft: () => act.step(-1), ArrowRight: () => act.step(1), ",": () => act.step(-1), ".": () => act.step(1),
    c: () => act.correct(), "/": () => act.question(), "?": () => act.help(), Escape: () => act.escape(),
  };
  for (let n = 1; n <= 9; n++) keys[n] = () => act.pin(n - 1);
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || document.querySelector("dialog[open]")) return;
    const typing = e.target.closest("textarea, select, input:not([type=range])");
    if (typing && e.key !== "Escape") return;
    if ((e.key === " " || e.key === "Enter") && e.target.closest("button, summary, a, label, [role=button]")) return;
    if (!keys[e.key]) return;
    if (keys[e.key]() !== false) e.preventDefault();
  });
}

"use strict";
/* Colours, before anything is drawn: those that were chosen on this page, else those of the system. */
{
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => { document.documentElement.dataset.theme = localStorage.getItem("vglamm-theme") ?? (system.matches ? "dark" : "light"); };
  system.addEventListener("change", apply);
  apply();
}

/* Elements, made in one expression. */

/* props: attributes; `onclick` and the like take functions; `style` an object (set one by one, as the page's policy wants); `null` and
   `false` leave an attribute out. Children that are null are left out. */
export function el(name, props = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [property, said] of Object.entries(value)) made.style.setProperty(property, said);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const byId = (id) => document.getElementById(id);

/* A file that the browser saves. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

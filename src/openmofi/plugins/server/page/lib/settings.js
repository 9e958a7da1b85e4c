/** What a reader has set, kept in this browser. The theme is applied as soon as this is loaded, which is before the first paint. */
import { effect, signal } from "./html.js";
import { keep, kept } from "./kept.js";

const PLACE = "openmofi.settings";
/** Values of each setting; "" is the system's, the medium, the browser's. */
const VALUES = { theme: ["", "light", "dark"], tiles: ["", "small", "large"], language: ["", "en", "de"] };
const SHARES = { small: 0.6, "": 1, large: 1.5 };

function read() {
  let given = {};
  try {
    given = JSON.parse(kept(PLACE)) ?? {};
  } catch { /* nothing, or nothing of ours */ }
  return Object.fromEntries(Object.entries(VALUES).map(([name, values]) => [name, values.includes(given[name]) ? given[name] : ""]));
}

export const settings = signal(read());
/** Whether the last change is kept for the next visit. */
export const lasting = signal(true);
/** @type {import("@preact/signals").Signal<"light" | "dark">} that is shown */
export const theme = signal("light");

/** @param {keyof VALUES} name @param {string} value */
export function set(name, value) {
  settings.value = { ...settings.value, [name]: value };
  lasting.value = keep(PLACE, JSON.stringify(settings.value));
}

/** The width of a tile, px. @param {number} medium */
export const tileWidth = (medium) => medium * SHARES[settings.value.tiles];

const dark = matchMedia("(prefers-color-scheme: dark)");
function apply() {
  theme.value = settings.value.theme || (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = theme.value;
}
dark.addEventListener("change", apply);
effect(apply);

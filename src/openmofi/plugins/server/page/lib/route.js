/** The address is the state: `#/view/name?key=value`, which can be shared, bookmarked and gone back from. */
import { signal } from "./html.js";

/**
 * @typedef {object} Route
 * @property {string} view the first part of the path
 * @property {string[]} rest its further parts, decoded
 * @property {URLSearchParams} params
 */

const NOTE_MS = 100;

/** @returns {Route} */
function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view, ...rest] = path.split("/").map(decoded);
  return { view: view || "search", rest, params: new URLSearchParams(query) };
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** @type {import("@preact/signals").Signal<Route>} */
export const route = signal(read());
/** Where the page was scrolled to when its step in the history was left, in pixels, until it is there again. */
export const scrolled = { y: 0 };

// The browser would restore it before the list is there.
history.scrollRestoration = "manual";
let noting = 0;
addEventListener("scroll", () => {
  clearTimeout(noting);
  noting = setTimeout(() => history.replaceState({ ...history.state, y: scrollY }, ""), NOTE_MS);
}, { passive: true });
// Also where a link or the address bar was used, which make a step without a state.
addEventListener("popstate", () => {
  clearTimeout(noting);
  scrolled.y = history.state?.y ?? 0;
  route.value = read();
});

/**
 * @param {string[]} path
 * @param {URLSearchParams | Record<string, string>} [params]
 */
export function href(path, params = {}) {
  const query = new URLSearchParams(params).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${query ? `?${query}` : ""}`;
}

/**
 * @param {string} address of `href`
 * @param {boolean} [replace] instead of a new step in the history
 */
export function go(address, replace = false) {
  if (address === location.hash) return;
  clearTimeout(noting);
  if (replace) history.replaceState(history.state, "", address);
  else {
    history.replaceState({ ...history.state, y: scrollY }, "");
    history.pushState({ from: location.hash || "#/search" }, "", address);
    scrolled.y = 0;
  }
  route.value = read();
}

/**
 * Leave what lies over a view, such as a dialog: by the step back to it, where that was the last one.
 * @param {string} address of the view
 */
export function leave(address) {
  if (history.state?.from === address) history.back();
  else go(address, true);
}

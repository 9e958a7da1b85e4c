/** The address is the state: `#/view/name?key=value`, which can be shared, bookmarked and gone back from. */
import { signal } from "./html.js";

/**
 * @typedef {object} Route
 * @property {string} view the first part of the path
 * @property {string[]} rest its further parts, decoded
 * @property {URLSearchParams} params
 */

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

/** @type {import("../vendor/signals-core.js").Signal<Route>} */
export const route = signal(read());
addEventListener("hashchange", () => { route.value = read(); });

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
  history[replace ? "replaceState" : "pushState"](null, "", address);
  route.value = read();
}
addEventListener("popstate", () => { route.value = read(); });

/** What this browser keeps of a reader from visit to visit. */

/** @param {string} place @returns {string} "" where there is nothing */
export function kept(place) {
  try {
    return localStorage.getItem(place) ?? "";
  } catch {
    return ""; // a browser that keeps nothing
  }
}

/** @param {string} place @param {string} text @returns {boolean} whether it is kept; otherwise it holds until the page is closed */
export function keep(place, text) {
  try {
    localStorage.setItem(place, text);
    return true;
  } catch {
    return false;
  }
}

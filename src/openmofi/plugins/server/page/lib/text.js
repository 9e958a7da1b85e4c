/** What the page says, in the reader's language: `t` looks it up in a table of `strings/`; numbers and dates follow. */
import { signal } from "./html.js";
import english from "./strings/en.json" with { type: "json" };

const TABLES = { en: () => english, de: async () => (await import("./strings/de.json", { with: { type: "json" } })).default };
const speaking = (language, table) => ({ language, table, plurals: new Intl.PluralRules(language), whole: new Intl.NumberFormat(language) });
const spoken = signal(speaking("en", english));
let wanted = "";

/**
 * Speak another language from now on: what is on the screen is rendered again.
 * @param {string} language "" for the first of the browser's that there is a table for
 * @returns {Promise<boolean>} whether it is spoken now; not where another was asked for meanwhile
 * @throws {TypeError} its table cannot be fetched: nothing changes
 */
export async function speak(language) {
  const browsers = navigator.languages.map((each) => each.split("-")[0]);
  const next = language || browsers.find((each) => Object.hasOwn(TABLES, each)) || "en";
  wanted = next;
  let table = english;
  try {
    table = await TABLES[next]();
  } catch (failed) {
    if (wanted === next) throw failed;
  }
  if (wanted !== next) return false;
  spoken.value = speaking(next, table);
  document.documentElement.lang = next;
  return true;
}

/** @param {number} count a whole number, or rounded to one */
export const number = (count) => spoken.value.whole.format(Math.round(count));

/** @param {Date | number} value a time, or a number @param {Intl.DateTimeFormatOptions | Intl.NumberFormatOptions} options */
export function formatted(value, options) {
  const Format = value instanceof Date ? Intl.DateTimeFormat : Intl.NumberFormat;
  return new Format(spoken.value.language, options).format(value);
}

/**
 * @param {string} key of the tables
 * @param {Record<string, any>} [values] of the text's `{parameters}`; `count` chooses among plurals, numbers are rounded
 * @returns {string | any[]} pieces to render where a value is an element
 */
export function t(key, values = {}) {
  const { table, plurals } = spoken.value;
  const text = table[key].other ? table[key][plurals.select(Math.round(values.count))] : table[key];
  const pieces = text.split(/\{(\w+)\}/).map((piece, place) => {
    const value = place % 2 ? values[piece] : piece;
    return typeof value === "number" ? number(value) : value;
  });
  return pieces.every((piece) => typeof piece === "string") ? pieces.join("") : pieces;
}

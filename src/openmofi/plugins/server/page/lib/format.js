/** Probabilities, names and texts as people read them. */

/**
 * A probability in percent; the ends stay open, since no probability is certain.
 * @param {number} probability 0..1
 */
export function percent(probability) {
  const whole = Math.round(probability * 100);
  if (whole >= 100 && probability < 1) return "> 99 %";
  if (whole <= 0 && probability > 0) return "< 1 %";
  return `${whole} %`;
}

/**
 * What people call a type, such as "artifact" for `noun.artifact`; "" for a code.
 * @param {string} type
 */
export const plainType = (type) => (/^([a-z]+\.)?[\p{L} -]+$/u.test(type) ? type.replace(/^[a-z]+\./, "") : "");

/**
 * What an entity is, in words; or "".
 * @param {{description: string, types: string[]}} entity
 */
export const described = ({ description, types }) => description || types.map(plainType).filter(Boolean).join(", ");

/**
 * What an image is called where it has no text.
 * @param {{text: string, key: string}} image
 */
export const title = (image) => image.text.trim() || image.key;

/**
 * Text in pieces, of which those that name an entity are marked. Whole words, whatever the case.
 * @param {string} text
 * @param {string[]} names
 * @returns {{text: string, mark: string}[]}
 */
export function marked(text, names) {
  const wanted = [...new Set(names.filter((name) => name.trim()))].sort((a, b) => b.length - a.length);
  if (!wanted.length) return [{ text, mark: "" }];
  const escaped = wanted.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/[\s_-]+/g, "[\\s_-]+"));
  const parts = text.split(new RegExp(`(?<![\\p{L}\\p{N}])(${escaped.join("|")})(?![\\p{L}\\p{N}])`, "giu"));
  return parts.map((part, place) => ({ text: part, mark: place % 2 ? "meant" : "" })).filter((part) => part.text);
}

/**
 * Text in pieces by places that are counted in code points, as Python counts; of places that overlap the first is kept.
 * @param {string} text
 * @param {{start: number, end: number, kind: string}[]} places
 * @returns {{text: string, mark: string}[]} `mark` is the place's kind, or ""
 */
export function split(text, places) {
  const points = [...text];
  const parts = [];
  let done = 0;
  for (const { start, end, kind } of [...places].sort((a, b) => a.start - b.start)) {
    if (start < done || end <= start || end > points.length) continue;
    parts.push({ text: points.slice(done, start).join(""), mark: "" }, { text: points.slice(start, end).join(""), mark: kind });
    done = end;
  }
  parts.push({ text: points.slice(done).join(""), mark: "" });
  return parts.filter((part) => part.text);
}

/** A query as the address holds it, and as the server is asked. */
import { asRegion } from "./api.js";

/**
 * @typedef {object} Example
 * @property {number} [image] id of an image of the index
 * @property {string} [upload] token of an uploaded one
 * @property {number} weight negative for "less of this"
 * @property {number[] | null} region left, top, right, bottom in fractions
 *
 * @typedef {object} Query
 * @property {Example[]} examples
 * @property {string} text
 * @property {string} entity identifier
 * @property {number[]} more ids of images that were marked as right
 * @property {number[]} less ids of images that were marked as wrong
 * @property {Record<string, string>} filters as in `openmofi.search.Filters`; of further columns as `column.NAME`
 * @property {"" | "newest" | "oldest"} order of what nothing ranks
 * @property {boolean} words whether the text is meant as words, also where it is the name of an entity
 */

/** @type {Query} */
export const NOTHING = { examples: [], text: "", entity: "", more: [], less: [], filters: {}, order: "", words: false };
const ORDERS = ["newest", "oldest"];
export const FILTERS = ["entity", "type", "min_probability", "folder", "since", "until", "licence", "verdict"];

/** @param {string} text `TOKEN`, `TOKEN*WEIGHT`, `TOKEN@REGION` or both */
function readExample(text) {
  const [, token, weight, region] = text.match(/^([^*@]+)(?:\*(-?[\d.]+))?(?:@([\d.,]+))?$/) ?? [];
  const corners = region?.split(",").map(Number);
  return token && {
    token, weight: weight ? Number(weight) : 1,
    region: corners?.length === 4 && corners.every((corner) => corner >= 0 && corner <= 1) ? corners : null,
  };
}

/** @param {Example} example */
function writeExample({ image, upload, weight, region }) {
  const corners = region?.map((corner) => Number(corner.toFixed(4))).join(",");
  return `${image ?? upload}${weight === 1 ? "" : `*${weight}`}${corners ? `@${corners}` : ""}`;
}

const ids = (text) => (text ?? "").split(",").filter(Boolean).map(Number).filter(Number.isInteger);

/** @param {URLSearchParams} params @returns {Query} */
export function readQuery(params) {
  const examples = [
    ...params.getAll("image").map(readExample).filter((found) => Number.isInteger(Number(found?.token)))
      .map(({ token, ...more }) => ({ image: Number(token), ...more })),
    ...params.getAll("upload").map(readExample).filter(Boolean).map(({ token, ...more }) => ({ upload: token, ...more })),
  ];
  const filters = Object.fromEntries([...params].filter(([name, value]) => name.startsWith("f.") && value)
    .map(([name, value]) => [name.slice(2), value]));
  return { examples, text: params.get("text") ?? "", entity: params.get("entity") ?? "", more: ids(params.get("more")),
    less: ids(params.get("less")), filters, order: ORDERS.includes(params.get("order")) ? params.get("order") : "", words: params.has("words") };
}

/** @param {Query} query */
export function writeQuery(query) {
  const params = new URLSearchParams();
  if (query.text) params.set("text", query.text);
  if (query.entity) params.set("entity", query.entity);
  for (const example of query.examples) params.append(example.upload ? "upload" : "image", writeExample(example));
  if (query.more.length) params.set("more", query.more.join(","));
  if (query.less.length) params.set("less", query.less.join(","));
  for (const [name, value] of Object.entries(query.filters)) if (value) params.set(`f.${name}`, value);
  if (query.order) params.set("order", query.order);
  if (query.words) params.set("words", "1");
  return params;
}

/** @param {Query} query what the server is asked, but for `limit` and `offset` */
export function body(query) {
  const { min_probability: least, ...filters } = query.filters;
  const columns = Object.fromEntries(Object.entries(filters).filter(([name]) => name.startsWith("column."))
    .map(([name, value]) => [name.slice(7), value]));
  const plain = Object.fromEntries(Object.entries(filters).filter(([name]) => FILTERS.includes(name)));
  if (least && Number(least) > 0) plain.min_probability = Number(least);
  if (Object.keys(columns).length) plain.columns = columns;
  return {
    examples: query.examples.map(({ region, ...example }) => ({ ...example, ...(region && { region: asRegion(region) }) })),
    text: query.text, entity: query.entity, more: query.more, less: query.less, filters: plain,
    named: !query.words, order: query.order,
  };
}

/** Whether it ranks; otherwise the whole index is shown. @param {Query} query */
export const ranks = (query) => Boolean(query.text || query.entity || query.examples.length || query.more.length);

/** @param {Query} query @param {number} image @param {"more" | "less"} way */
export function mark(query, image, way) {
  const other = way === "more" ? "less" : "more";
  const taken = query[way].includes(image);
  return { ...query, [way]: taken ? query[way].filter((id) => id !== image) : [...query[way], image],
    [other]: query[other].filter((id) => id !== image) };
}

/** Verdicts as they are given and taken back. */
import { api } from "../../lib/api.js";
import { signal } from "../../lib/html.js";
import { reviewer } from "./reviewer.js";

/** Verdicts of a request at most. */
export const AT_ONCE = 1000;

/** Goes up with every verdict that is given or taken back here. */
export const changes = signal(0);

/**
 * @typedef {"y" | "n" | "u"} Value
 * @param {{image: any, entity: string, value: Value, instead?: string}[]} judged
 * @returns {Promise<number[]>} ids, by which they are taken back
 */
export async function judge(judged) {
  const kept = await api.judge(judged.map(({ image, entity, value, instead = "" }) => ({
    shard: image.shard, key: image.key, entity, verdict: value, instead, who: reviewer.value })));
  changes.value += 1;
  return kept.map(({ id }) => id);
}

/** @param {number[]} ids */
export async function takeBack(ids) {
  for (let from = 0; from < ids.length; from += AT_ONCE) await api.undo(ids.slice(from, from + AT_ONCE));
  changes.value += 1;
}

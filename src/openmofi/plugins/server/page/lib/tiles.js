/** The map's tiles, fetched as the view moves; those that were longest not drawn are forgotten. */
import { api } from "./api.js";
import { boxOf, readTile } from "./plane.js";

const AT_ONCE = 4;
const MOST_KEPT = 600_000;

/**
 * @typedef {object} Tiles
 * @property {(wanted: [number[], number][]) => [import("./plane.js").Tile, number][]} take of `planned`, what is there; the rest is fetched
 * @property {() => void} close
 *
 * @param {import("./plane.js").Plane} plane
 * @param {() => void} onChange a tile has come
 * @param {(error: Error) => void} onError
 * @returns {Tiles}
 */
export function tilesOf(plane, onChange, onError) {
  /** @type {Map<string, import("./plane.js").Tile>} the latest drawn last */
  const kept = new Map();
  const asked = new Set();
  const ended = new AbortController();
  let queue = [];
  let images = 0;

  const fetchNext = () => {
    while (asked.size < AT_ONCE && queue.length) {
      const each = queue.shift();
      const key = each.slice(0, 3).join("/");
      if (asked.has(key) || kept.has(key)) continue;
      asked.add(key);
      api.mapTile(key, plane.state, ended.signal).then((buffer) => {
        kept.set(key, readTile(buffer, boxOf(plane, each)));
        images += each[3];
        onChange();
      }).catch((error) => {
        if (!ended.signal.aborted) onError(error);
      }).finally(() => {
        asked.delete(key);
        fetchNext();
      });
    }
  };
  return {
    take(wanted) {
      const there = [];
      const missing = [];
      for (const [each, count] of wanted) {
        const key = each.slice(0, 3).join("/");
        const tile = kept.get(key);
        if (!tile) {
          missing.push(each);
          continue;
        }
        kept.delete(key);
        kept.set(key, tile);
        there.push([tile, Math.min(count, tile.x.length)]);
      }
      for (const [key, tile] of kept) {
        if (images <= MOST_KEPT || kept.size <= there.length) break;
        kept.delete(key);
        images -= tile.x.length;
      }
      queue = missing;
      fetchNext();
      return there;
    },
    close: () => ended.abort(),
  };
}

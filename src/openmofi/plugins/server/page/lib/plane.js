/** Geometry of the map: what lies in the frame, near the pointer, or inside a lasso. Coordinates are the server's, 0 to SIDE. */

export const SIDE = 65536;
const MOST_ZOOM = 4000;
const CORNERS = 60;
const EDGE = 16;

/**
 * @typedef {object} Plane the server's MapAnswer
 * @property {number} images
 * @property {[number, number, number, number]} bounds left, top, right, bottom
 * @property {[number, number, number, number][]} tiles level, x, y, images; by level
 * @property {number} deepest
 * @property {{type: string, images: number}[]} types
 * @property {number} other
 * @property {number} unlabelled
 * @property {{images: number, entities: string[], type: string, x: number, y: number}[]} areas
 * @property {number} missing
 * @property {number} state
 * @property {string} note
 *
 * @typedef {object} Tile columns of one length, an image each
 * @property {number} left
 * @property {number} top
 * @property {number} side
 * @property {Float64Array} images ids
 * @property {Uint16Array} x in 65536ths of the side
 * @property {Uint16Array} y
 * @property {Uint16Array} area
 * @property {Uint8Array} type
 * @property {Uint8Array} probability 0 for no label, then 1 to 255
 * @property {Uint8Array} verdict 0 none, 1 right, 2 wrong, 3 unsure
 *
 * @typedef {object} Frame what is shown
 * @property {number} x centre
 * @property {number} y centre
 * @property {number} zoom 1 shows all
 *
 * @typedef {object} Size of the canvas in pixels, and the bounds of what zoom 1 shows
 * @property {number} width
 * @property {number} height
 * @property {[number, number, number, number]} bounds
 */

/** @param {Plane["bounds"]} bounds @returns {Frame} */
export const whole = ([left, top, right, bottom]) => ({ x: (left + right) / 2, y: (top + bottom) / 2, zoom: 1 });

/** @param {Plane} plane @returns {{left: number, top: number, side: number}} */
export function boxOf({ deepest }, [level, x, y]) {
  const side = SIDE / 2 ** Math.min(level, deepest);
  return { left: x * side, top: y * side, side };
}

/** @param {ArrayBuffer} buffer as the server lays a tile out @param {{left: number, top: number, side: number}} box @returns {Tile} */
export function readTile(buffer, box) {
  const count = Math.floor(buffer.byteLength / 17);
  let from = 0;
  const column = (Kind) => {
    const values = new Kind(buffer, from, count);
    from += values.byteLength;
    return values;
  };
  return { ...box, images: column(Float64Array), x: column(Uint16Array), y: column(Uint16Array), area: column(Uint16Array),
    type: column(Uint8Array), probability: column(Uint8Array), verdict: column(Uint8Array) };
}

/** Pixels a unit. @param {Frame} frame @param {Size} size */
export const scale = (frame, { width, height, bounds: [left, top, right, bottom] }) => frame.zoom
  * Math.min(Math.max(1, width - 2 * EDGE) / Math.max(1, right - left), Math.max(1, height - 2 * EDGE) / Math.max(1, bottom - top));

/** @param {Frame} frame @param {Size} size @param {number} x @param {number} y in pixels */
export function toPlane(frame, size, x, y) {
  const pixels = scale(frame, size);
  return [frame.x + (x - size.width / 2) / pixels, frame.y + (y - size.height / 2) / pixels];
}

/** @param {Frame} frame @param {Size} size @param {number} x @param {number} y of the plane */
export function toPixels(frame, size, x, y) {
  const pixels = scale(frame, size);
  return [(x - frame.x) * pixels + size.width / 2, (y - frame.y) * pixels + size.height / 2];
}

const between = (value, low, high) => Math.min(high, Math.max(low, value));

/** @param {Frame} frame @param {Plane["bounds"]} bounds @returns {Frame} */
export const bounded = ({ x, y, zoom }, [left, top, right, bottom]) => ({
  x: between(x, left, right), y: between(y, top, bottom), zoom: between(zoom, 1, MOST_ZOOM) });

/** Move what lies below one pixel to another, and zoom. @param {Frame} frame @param {Size} size */
export function moved(frame, size, factor, [fromX, fromY], [x, y]) {
  const [atX, atY] = toPlane(frame, size, fromX, fromY);
  const zoom = between(frame.zoom * factor, 1, MOST_ZOOM);
  const pixels = scale({ ...frame, zoom }, size);
  return bounded({ x: atX - (x - size.width / 2) / pixels, y: atY - (y - size.height / 2) / pixels, zoom }, size.bounds);
}

/** Zoom so that what lies below a point stays there. */
export const zoomed = (frame, size, factor, x = size.width / 2, y = size.height / 2) => moved(frame, size, factor, [x, y], [x, y]);

/** What a frame shows, as a lasso. */
export function corners(frame, size) {
  const [left, top] = toPlane(frame, size, 0, 0);
  const [right, bottom] = toPlane(frame, size, size.width, size.height);
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

/**
 * How many images of which tiles a frame draws: all of the levels that fit, and of the next an equal share of each tile.
 * @param {Plane} plane @param {Frame} frame @param {Size} size @param {number} most
 * @returns {[[number, number, number, number], number][]}
 */
export function planned(plane, frame, size, most) {
  const [[left, top], , [right, bottom]] = corners(frame, size);
  const seen = plane.tiles.filter((each) => {
    const box = boxOf(plane, each);
    return box.left <= right && box.top <= bottom && box.left + box.side >= left && box.top + box.side >= top;
  });
  const chosen = [];
  for (let from = 0, total = 0; from < seen.length && total < most;) {
    let to = from;
    let count = 0;
    while (to < seen.length && seen[to][0] === seen[from][0]) count += seen[to++][3];
    const share = Math.min(1, (most - total) / count);
    while (from < to) chosen.push([seen[from], Math.floor(seen[from++][3] * share)]);
    total += count;
  }
  return chosen;
}

/**
 * Tile and row of the nearest image, or `null`.
 * @param {[Tile, number][]} drawn how many of which tiles @param {number} reach
 * @returns {{tile: Tile, row: number} | null}
 */
export function nearest(drawn, x, y, reach) {
  let best = null;
  let least = reach * reach;
  for (const [tile, count] of drawn) {
    if (x + reach < tile.left || y + reach < tile.top || x - reach > tile.left + tile.side || y - reach > tile.top + tile.side) continue;
    const unit = tile.side / 65536;
    for (let row = 0; row < count; row += 1) {
      const distance = (tile.left + tile.x[row] * unit - x) ** 2 + (tile.top + tile.y[row] * unit - y) ** 2;
      if (distance <= least) [best, least] = [{ tile, row }, distance];
    }
  }
  return best;
}

/** Where an image of a tile lies. @param {Tile} tile @param {number} row */
export const placeOf = (tile, row) => [tile.left + tile.x[row] * tile.side / 65536, tile.top + tile.y[row] * tile.side / 65536];

/** Whether a point is inside a polygon, by the even-odd rule. @param {number[][]} path */
export function inside(path, x, y) {
  let odd = false;
  for (let a = 0, b = path.length - 1; a < path.length; b = a, a += 1) {
    const [[x1, y1], [x2, y2]] = [path[a], path[b]];
    if ((y1 > y) !== (y2 > y) && x < (x2 - x1) * (y - y1) / (y2 - y1) + x1) odd = !odd;
  }
  return odd;
}

const numbers = (text) => text.split(",").map(Number);
const short = (value) => Number(value.toFixed(2));

/** A lasso as the address holds it: few corners. @param {number[][]} path */
export function written(path) {
  const step = Math.max(1, Math.ceil(path.length / CORNERS));
  return path.filter((_, place) => place % step === 0).map((corner) => corner.map(short).join(",")).join(";");
}

/** @param {string} text of `written` @returns {number[][] | null} */
export function readLasso(text) {
  const path = text.split(";").map(numbers);
  const fits = (corner) => corner.length === 2 && corner.every((value) => Math.abs(value) <= 1e6);
  return path.length >= 3 && path.length <= 500 && path.every(fits) ? path : null;
}

/** A frame as the address holds it; "" for the whole map. @param {Frame} frame @param {Plane["bounds"]} bounds */
export function writtenFrame(frame, bounds) {
  const text = [frame.x, frame.y, frame.zoom].map(short).join();
  return text === Object.values(whole(bounds)).map(short).join() ? "" : text;
}

/** @param {string} text of `writtenFrame` @param {Plane["bounds"]} bounds @returns {Frame} */
export function readFrame(text, bounds) {
  const [x, y, zoom, ...more] = numbers(text);
  return text && !more.length && [x, y, zoom].every(Number.isFinite) ? bounded({ x, y, zoom }, bounds) : whole(bounds);
}

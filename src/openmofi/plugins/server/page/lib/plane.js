/** Geometry of the map: what lies in the frame, near the pointer, or inside a lasso. Coordinates are the server's, 0 to SIDE. */

export const SIDE = 65535;
const MOST_ZOOM = 200;
const CORNERS = 60;

/**
 * @typedef {object} Plane as the server's MapAnswer, columns as arrays of numbers
 * @property {number[]} images
 * @property {Uint16Array} x
 * @property {Uint16Array} y
 * @property {Uint8Array} type
 * @property {Uint16Array} area
 * @property {{type: string, images: number}[]} types
 * @property {{images: number, entities: string[], type: string}[]} areas
 * @property {number} missing
 * @property {string} note
 *
 * @typedef {object} Frame what is shown
 * @property {number} x centre
 * @property {number} y centre
 * @property {number} zoom 1 shows all
 */

export const WHOLE = { x: SIDE / 2, y: SIDE / 2, zoom: 1 };

/** @param {any} answer @returns {Plane} */
export const read = (answer) => ({ ...answer, x: Uint16Array.from(answer.x), y: Uint16Array.from(answer.y),
  type: Uint8Array.from(answer.type), area: Uint16Array.from(answer.area) });

/** Pixels a unit. @param {Frame} frame @param {{width: number, height: number}} size */
export const scale = (frame, { width, height }) => frame.zoom * Math.max(1, Math.min(width, height) - 32) / SIDE;

/** @param {Frame} frame @param {{width: number, height: number}} size @param {number} x @param {number} y in pixels */
export function toPlane(frame, size, x, y) {
  const pixels = scale(frame, size);
  return [frame.x + (x - size.width / 2) / pixels, frame.y + (y - size.height / 2) / pixels];
}

const between = (value, low, high) => Math.min(high, Math.max(low, value));

/** @param {Frame} frame */
export const bounded = ({ x, y, zoom }) => ({ x: between(x, 0, SIDE), y: between(y, 0, SIDE), zoom: between(zoom, 1, MOST_ZOOM) });

/** Zoom so that what lies below a point stays there. */
export function zoomed(frame, size, factor, x = size.width / 2, y = size.height / 2) {
  const [atX, atY] = toPlane(frame, size, x, y);
  const zoom = between(frame.zoom * factor, 1, MOST_ZOOM);
  const share = frame.zoom / zoom;
  return bounded({ x: atX + (frame.x - atX) * share, y: atY + (frame.y - atY) * share, zoom });
}

/** Place of the nearest point, or -1. @param {Plane} plane @param {number} reach */
export function nearest(plane, x, y, reach) {
  let best = -1;
  let least = reach * reach;
  for (let place = 0; place < plane.x.length; place += 1) {
    const distance = (plane.x[place] - x) ** 2 + (plane.y[place] - y) ** 2;
    if (distance <= least) [best, least] = [place, distance];
  }
  return best;
}

/** Places inside a polygon, by the even-odd rule. @param {Plane} plane @param {number[][]} corners */
export function inside(plane, corners) {
  const chosen = [];
  const xs = corners.map(([x]) => x);
  const ys = corners.map(([, y]) => y);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  for (let place = 0; place < plane.x.length; place += 1) {
    const x = plane.x[place];
    const y = plane.y[place];
    if (x < left || x > right || y < top || y > bottom) continue;
    let odd = false;
    for (let a = 0, b = corners.length - 1; a < corners.length; b = a, a += 1) {
      if ((ys[a] > y) !== (ys[b] > y) && x < (xs[b] - xs[a]) * (y - ys[a]) / (ys[b] - ys[a]) + xs[a]) odd = !odd;
    }
    if (odd) chosen.push(place);
  }
  return chosen;
}

/** What a frame shows, as a lasso. */
export function corners(frame, size) {
  const [left, top] = toPlane(frame, size, 0, 0);
  const [right, bottom] = toPlane(frame, size, size.width, size.height);
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

/** A lasso as the address holds it: few corners, whole numbers. @param {number[][]} path */
export function written(path) {
  const step = Math.max(1, Math.ceil(path.length / CORNERS));
  return path.filter((_, place) => place % step === 0).map((corner) => corner.map(Math.round).join(",")).join(";");
}

/** @param {string} text of `written` @returns {number[][] | null} */
export function readLasso(text) {
  const path = text.split(";").map((corner) => corner.split(",").map(Number));
  return path.length >= 3 && path.every((corner) => corner.length === 2 && corner.every(Number.isFinite)) ? path : null;
}

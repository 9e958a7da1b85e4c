/** The images of the map as marks: moved and zoomed by pointer, fingers, wheel and keys; a lasso chooses; near ones are shown. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/html.js";
import { painterOf } from "../lib/paint.js";
import { bounded, corners, moved, nearest, placeOf, planned, scale, toPixels, toPlane, whole, zoomed } from "../lib/plane.js";
import { theme } from "../lib/settings.js";
import { t } from "../lib/text.js";
import { Icon } from "./icons.js";
import { say } from "./notice.js";
import { Thumbnail } from "./tile.js";

const STEP = 0.15;
const ZOOM = 1.4;
const REACH = 9;
const CLICK = 4;
const REST_MS = 250;
/** Marks of a view, and of one frame: fewer where frames are slow, more where they are quick. */
const MOST_MARKS = 150_000;
const [LEAST_A_FRAME, MOST_A_FRAME] = [8_000, 60_000];
const SLOW_MS = 20;
/** So few images in view are shown as thumbnails, as many as find room. */
const MOST_NEAR = 300;
const THUMBNAIL = 64;

/** Marks that a frame may have, which the page learns from how long its frames take. */
let affordable = 30_000;

/** @param {number} took from a frame to the next, in ms */
function learn(took) {
  affordable = took > SLOW_MS ? Math.max(LEAST_A_FRAME, affordable * 0.75) : Math.min(MOST_A_FRAME, affordable * 1.03);
}

/**
 * Draw a view: first an even sample of it, then in each frame some more, until all is drawn that a view may have.
 * @param {(marks: number) => void} onFrame @param {(view: [import("../lib/plane.js").Tile, number][]) => void} onDone
 * @returns {{stop: () => void, more: () => void}} `more` where a tile has come
 */
function drawing({ painter, tiles, plane, frame, size, style, radius }, onFrame, onDone) {
  const shown = new Map();
  let first = true;
  let next = 0;
  const step = (time) => {
    requestAnimationFrame((later) => learn(later - time));
    const most = Math.floor(affordable);
    let left = most;
    const more = (tile, to) => {
      const from = shown.get(tile) ?? 0;
      const end = Math.min(to, from + left);
      if (end <= from) return;
      painter.draw(tile, from, end, frame, size, radius);
      shown.set(tile, end);
      left -= end - from;
    };
    if (first) {
      painter.clear(size, style);
      for (const [tile, count] of tiles.take(planned(plane, frame, size, most))) more(tile, count);
      first = false;
    }
    const view = tiles.take(planned(plane, frame, size, MOST_MARKS));
    for (const [tile, count] of view) if (left) more(tile, count);
    painter.show();
    onFrame(most - left);
    next = 0;
    if (view.some(([tile, count]) => (shown.get(tile) ?? 0) < count)) next = requestAnimationFrame(step);
    else onDone(view);
  };
  next = requestAnimationFrame(step);
  return { stop: () => cancelAnimationFrame(next), more: () => { next ||= requestAnimationFrame(step); } };
}

/** Images in view as thumbnails, where there are few: those that find room, in their random order. */
function nearOf(view, frame, size) {
  const seen = [];
  const [[left, top], , [right, bottom]] = corners(frame, size);
  for (const [tile, count] of view) {
    // Most rows lie elsewhere: these cost no more than four comparisons.
    const [low, high, above, below] = [left - tile.left, right - tile.left, top - tile.top, bottom - tile.top].map((part) => part * 65536 / tile.side);
    for (let row = 0; row < count; row += 1) {
      if (tile.x[row] < low || tile.x[row] > high || tile.y[row] < above || tile.y[row] > below) continue;
      const at = placeOf(tile, row);
      const [x, y] = toPixels(frame, size, ...at);
      if (seen.push({ id: tile.images[row], at, x, y, tile, row }) > MOST_NEAR) return [];
    }
  }
  const free = [];
  for (const each of seen) {
    if (free.every(({ x, y }) => Math.max(Math.abs(x - each.x), Math.abs(y - each.y)) > THUMBNAIL)) free.push(each);
  }
  return free;
}

/** Names of areas that find room, those with most images first. */
function namesOf(plane, frame, size) {
  const free = [];
  plane.areas.forEach(({ entities, type, x, y }, place) => {
    const name = entities[0] || type;
    const [left, top] = toPixels(frame, size, x, y);
    const half = Math.min(90, 10 + 4 * name.length);
    if (!name || left < half || top < 56 || left > size.width - half || top > size.height - 14) return;
    if (free.every((each) => Math.abs(each.top - top) > 24 || Math.abs(each.left - left) > each.half + half)) free.push({ place, name, left, top, half });
  });
  return free;
}

/**
 * @param {object} props
 * @param {import("../lib/plane.js").Plane} props.plane
 * @param {import("../lib/tiles.js").Tiles} props.tiles
 * @param {number} props.turn goes up when a tile has come
 * @param {(element: HTMLElement) => import("../lib/paint.js").Style} props.style
 * @param {import("../lib/plane.js").Frame} props.frame
 * @param {(change: (old: import("../lib/plane.js").Frame) => import("../lib/plane.js").Frame) => void} props.onFrame
 * @param {number[][] | null} props.lasso
 * @param {number[][]} props.marked places of what a search found
 * @param {(path: number[][]) => void} props.onLasso
 * @param {(image: number) => void} props.onOpen
 */
export function Scatter({ plane, tiles, turn, style, frame, onFrame, lasso, marked, onLasso, onOpen }) {
  const canvas = useRef(null);
  const painter = useRef(null);
  const drawn = useRef(null);
  const [lassoing, setLassoing] = useState(false);
  const [path, setPath] = useState(null);
  /** Where the mouse rests, in pixels; `null` while a button or a finger is down, or elsewhere. */
  const [pointer, setPointer] = useState(null);
  const [near, setNear] = useState([]);
  const [measured, setMeasured] = useState(null);
  const held = useRef(null);
  const fingers = useRef(new Map());
  const size = () => ({ width: canvas.current.clientWidth, height: canvas.current.clientHeight, bounds: plane.bounds });
  const radius = Math.min(7, (plane.images > 20_000 ? 2 : plane.images > 2_000 ? 3.6 : 6.4) * Math.sqrt(frame.zoom));
  theme.value; // of which the colours are
  const look = canvas.current && style(canvas.current);

  useLayoutEffect(() => {
    if (!measured) return undefined;
    painter.current ??= painterOf(canvas.current);
    let rest = 0;
    const element = canvas.current;
    drawn.current = drawing({ painter: painter.current, tiles, plane, frame, size: measured, style: look, radius },
      (marks) => { element.dataset.marks = String(marks); },
      (all) => {
        element.dataset.drawn = String(all.reduce((sum, [, count]) => sum + count, 0));
        clearTimeout(rest);
        rest = setTimeout(() => setNear(nearOf(all, frame, measured)), REST_MS);
      });
    return () => {
      drawn.current.stop();
      clearTimeout(rest);
    };
  }, [plane, tiles, frame, look?.key, measured]);
  useEffect(() => drawn.current?.more(), [turn]);
  useEffect(() => {
    const listening = canvas.current;
    const again = () => setMeasured(size());
    again();
    const observer = new ResizeObserver(again);
    observer.observe(listening);
    // Preact's listeners for wheels are passive: the page would scroll.
    const wheel = (event) => {
      event.preventDefault();
      const [x, y] = where(event);
      onFrame((old) => zoomed(old, size(), Math.exp(-event.deltaY / 400), x, y));
    };
    // A browser that took the graphics away for a while gives new ones.
    const lost = (event) => event.preventDefault();
    const back = () => {
      painter.current = painterOf(listening);
      again();
    };
    listening.addEventListener("wheel", wheel, { passive: false });
    listening.addEventListener("webglcontextlost", lost);
    listening.addEventListener("webglcontextrestored", back);
    return () => {
      observer.disconnect();
      listening.removeEventListener("wheel", wheel);
      listening.removeEventListener("webglcontextlost", lost);
      listening.removeEventListener("webglcontextrestored", back);
    };
  }, [plane]);

  const where = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  /** The nearest mark among the tiles that have come, drawn or not. */
  const markAt = ([x, y]) => measured
    && nearest(tiles.take(planned(plane, frame, measured, MOST_MARKS)), ...toPlane(frame, measured, x, y), REACH / scale(frame, measured));
  const hover = (event) => setPointer(event.pointerType === "mouse" ? where(event) : null);
  const pinch = () => {
    const [[x1, y1], [x2, y2]] = fingers.current.values();
    return { apart: Math.max(1, Math.hypot(x1 - x2, y1 - y2)), middle: [(x1 + x2) / 2, (y1 + y2) / 2] };
  };
  const down = (event) => {
    if (event.button) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    const [x, y] = where(event);
    fingers.current.set(event.pointerId, [x, y]);
    setPointer(null);
    setPath(null);
    if (fingers.current.size === 2) held.current = { frame, pinch: pinch() };
    else if (fingers.current.size === 1) held.current = { x, y, frame, path: lassoing || event.shiftKey ? [toPlane(frame, size(), x, y)] : null };
    else held.current = null;
  };
  const move = (event) => {
    const [x, y] = where(event);
    const from = held.current;
    if (fingers.current.has(event.pointerId)) fingers.current.set(event.pointerId, [x, y]);
    if (from?.pinch) {
      const now = pinch();
      onFrame(() => moved(from.frame, size(), now.apart / from.pinch.apart, from.pinch.middle, now.middle));
    } else if (from?.path) {
      from.path.push(toPlane(frame, size(), x, y));
      setPath([...from.path]);
    } else if (from) onFrame(() => moved(from.frame, size(), 1, [from.x, from.y], [x, y]));
    else hover(event);
  };
  const cancel = () => {
    fingers.current.clear();
    held.current = null;
    setPath(null);
  };
  const up = (event) => {
    const from = held.current;
    cancel();
    hover(event);
    if (!from || from.pinch) return;
    const [x, y] = where(event);
    const mark = !from.path && Math.hypot(x - from.x, y - from.y) < CLICK && markAt([x, y]);
    if (from.path?.length > 2) onLasso(from.path);
    else if (mark) onOpen(mark.tile.images[mark.row]);
  };
  const keys = (event) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const step = STEP * Math.min(size().width, size().height) / scale(frame, size());
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (by) onFrame((old) => bounded({ ...old, x: old.x + by[0] * step, y: old.y + by[1] * step }, plane.bounds));
    else if (event.key === "+" || event.key === "=") onFrame((old) => zoomed(old, size(), ZOOM));
    else if (event.key === "-") onFrame((old) => zoomed(old, size(), 1 / ZOOM));
    else if (event.key === "0" || event.key === "Home") onFrame(() => whole(plane.bounds));
    else if (event.key === "Enter") onLasso(corners(frame, size()));
    else if (event.key === "Escape" && held.current) cancel();
    else return;
    event.preventDefault();
  };
  const zoom = (factor, name, sign) => html`<button class="button" aria-label=${name} title=${name}
    onClick=${() => { onFrame((old) => factor ? zoomed(old, size(), factor) : whole(plane.bounds)); say(name); }}>${sign}</button>`;
  const at = (place) => measured && toPixels(frame, measured, ...place);
  const put = ([x, y]) => ({ transform: `translate(${x}px, ${y}px)` });
  // At each render: tiles may have come or the frame may have changed under a resting mouse.
  const mark = pointer && markAt(pointer);
  const outline = measured && (path ?? lasso)?.map((corner) => at(corner).map((value) => value.toFixed(1)).join()).join(" ");
  return html`<div class="map-frame">
    <div class="map-tools" role="group" aria-label=${t("view.map")}>
      <button class="button" aria-pressed=${lassoing} onClick=${() => setLassoing(!lassoing)}><${Icon} name="lasso" />${t("map.lasso")}</button>
      ${zoom(ZOOM, t("map.zoomIn"), "+")}${zoom(1 / ZOOM, t("map.zoomOut"), "−")}${zoom(0, t("map.showAll"), t("map.all"))}
    </div>
    <canvas ref=${canvas} class=${lassoing ? "drawing" : ""} tabindex="0" role="application" aria-roledescription=${t("map.role")}
      data-zoom=${frame.zoom.toFixed(2)} data-centre=${`${Math.round(frame.x)},${Math.round(frame.y)}`}
      aria-label=${t("map.help")}
      onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${cancel}
      onPointerLeave=${() => setPointer(null)} onKeyDown=${keys} />
    ${measured && html`<div class="map-over" aria-hidden="true">
      ${near.map(({ id, at: place, tile, row }) => html`<div key=${id} class="map-image" style=${{ ...put(at(place)), borderColor: colour(look, tile, row) }}>
        <${Thumbnail} image=${{ id }} /></div>`)}
      <svg>${outline && html`<polygon class="lasso-edge" points=${outline} /><polygon points=${outline} />`}
        ${marked.map((place) => { const [x, y] = at(place); return html`<circle key=${place.join()} cx=${x} cy=${y} r="6" />`; })}</svg>
      ${namesOf(plane, frame, measured).map(({ place, name, left, top }) => html`<span key=${place} class="map-name"
        style=${put([left, top])}><span>${name}</span></span>`)}
    </div>`}
    ${mark && html`<div class="map-near" style=${{ left: `${pointer[0]}px`, top: `${pointer[1]}px` }}>
      <${Thumbnail} key=${mark.tile.images[mark.row]} image=${{ id: mark.tile.images[mark.row] }} /></div>`}
  </div>`;
}

function colour({ colours, shade }, tile, row) {
  return `rgb(${colours[shade(tile, row)].slice(0, 3).map((part) => part * 255).join(" ")})`;
}

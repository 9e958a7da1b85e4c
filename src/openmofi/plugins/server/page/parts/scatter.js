/** The points of the map on a canvas: moved and zoomed by pointer, wheel and keys; a lasso chooses. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/html.js";
import { bounded, corners, nearest, scale, toPlane, WHOLE, zoomed } from "../lib/plane.js";
import { Icon } from "./icons.js";
import { say } from "./notice.js";
import { Thumbnail } from "./tile.js";

const STEP = 0.15;
const ZOOM = 1.4;
const REACH = 9;
const CLICK = 4;

/** Colours of the style sheet: those of types, then of other types and of no label. @param {HTMLElement} element */
function colours(element, types) {
  const style = getComputedStyle(element);
  const value = (name) => style.getPropertyValue(name).trim();
  const rest = value("--map-rest");
  return { points: [...Array.from({ length: types }, (_, place) => value(`--map-${place + 1}`)), rest, rest],
    accent: value("--accent"), ink: value("--ink") };
}

function draw(canvas, plane, frame, { chosen, lasso, bright }) {
  const size = { width: canvas.clientWidth, height: canvas.clientHeight };
  const dense = devicePixelRatio || 1;
  canvas.width = Math.round(size.width * dense);
  canvas.height = Math.round(size.height * dense);
  const pen = canvas.getContext("2d");
  const { points, accent, ink } = colours(canvas, plane.types.length);
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  const pixels = scale(frame, size);
  const at = (x, y) => [(x - frame.x) * pixels + size.width / 2, (y - frame.y) * pixels + size.height / 2];
  const radius = Math.min(6, (plane.x.length > 20_000 ? 1.2 : plane.x.length > 2_000 ? 1.8 : 3.2) * Math.sqrt(frame.zoom));
  const count = points.length;
  // One colour after another, those without a type first, so that they cover none.
  for (let kind = count - 1; kind >= 0; kind -= 1) {
    pen.fillStyle = points[kind];
    const half = kind === count - 1 ? radius * 0.6 : radius;
    for (let place = 0; place < plane.x.length; place += 1) {
      if (plane.type[place] !== kind) continue;
      const [x, y] = at(plane.x[place], plane.y[place]);
      if (x < -half || y < -half || x > size.width + half || y > size.height + half) continue;
      pen.globalAlpha = (chosen && !chosen.has(place)) || (bright !== null && bright !== kind) ? 0.12 : 1;
      pen.fillRect(x - half, y - half, half * 2, half * 2);
    }
  }
  pen.globalAlpha = 1;
  if (!lasso?.length) return;
  pen.beginPath();
  lasso.forEach(([x, y], place) => pen[place ? "lineTo" : "moveTo"](...at(x, y)));
  pen.closePath();
  pen.strokeStyle = ink;
  pen.lineWidth = 4;
  pen.stroke();
  pen.strokeStyle = accent;
  pen.lineWidth = 2;
  pen.stroke();
}

/**
 * @param {object} props
 * @param {import("../lib/plane.js").Plane} props.plane
 * @param {Set<number> | null} props.chosen places
 * @param {number[][] | null} props.lasso
 * @param {number | null} props.bright position of a type that stands out
 * @param {(path: number[][]) => void} props.onLasso
 * @param {(image: number) => void} props.onOpen
 */
export function Scatter({ plane, chosen, lasso, bright, onLasso, onOpen }) {
  const canvas = useRef(null);
  const [frame, setFrame] = useState(WHOLE);
  const [drawing, setDrawing] = useState(false);
  const [path, setPath] = useState(null);
  const [near, setNear] = useState(null);
  const [turn, setTurn] = useState(0);
  const held = useRef(null);
  const size = () => ({ width: canvas.current.clientWidth, height: canvas.current.clientHeight });

  useLayoutEffect(() => {
    const drawn = requestAnimationFrame(() => draw(canvas.current, plane, frame, { chosen, lasso: path ?? lasso, bright }));
    return () => cancelAnimationFrame(drawn);
  }, [plane, frame, chosen, lasso, path, bright, turn]);
  useEffect(() => {
    const again = () => setTurn((old) => old + 1);
    const observer = new ResizeObserver(again);
    observer.observe(canvas.current);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", again);
    // Preact's listeners for wheels are passive: the page would scroll.
    const wheel = (event) => {
      event.preventDefault();
      const box = canvas.current.getBoundingClientRect();
      setFrame((old) => zoomed(old, size(), Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top));
    };
    canvas.current.addEventListener("wheel", wheel, { passive: false });
    const listening = canvas.current;
    return () => {
      observer.disconnect();
      dark.removeEventListener("change", again);
      listening.removeEventListener("wheel", wheel);
    };
  }, []);

  const where = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const pointAt = (x, y) => nearest(plane, ...toPlane(frame, size(), x, y), REACH / scale(frame, size()));
  const down = (event) => {
    if (event.button) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    const [x, y] = where(event);
    held.current = { x, y, frame, path: drawing || event.shiftKey ? [toPlane(frame, size(), x, y)] : null };
    setNear(null);
  };
  const move = (event) => {
    const [x, y] = where(event);
    const from = held.current;
    if (!from) {
      const place = event.pointerType === "mouse" ? pointAt(x, y) : -1;
      setNear(place < 0 ? null : { place, x, y });
    } else if (from.path) {
      from.path.push(toPlane(frame, size(), x, y));
      setPath([...from.path]);
    } else {
      const pixels = scale(from.frame, size());
      setFrame(bounded({ ...from.frame, x: from.frame.x - (x - from.x) / pixels, y: from.frame.y - (y - from.y) / pixels }));
    }
  };
  const up = (event) => {
    const from = held.current;
    held.current = null;
    setPath(null);
    if (!from) return;
    const [x, y] = where(event);
    const still = Math.hypot(x - from.x, y - from.y) < CLICK;
    if (from.path?.length > 2) onLasso(from.path);
    else if (still && !from.path && pointAt(x, y) >= 0) onOpen(plane.images[pointAt(x, y)]);
  };
  const cancel = () => {
    held.current = null;
    setPath(null);
  };
  const keys = (event) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const step = STEP * Math.min(size().width, size().height) / scale(frame, size());
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (by) setFrame(bounded({ ...frame, x: frame.x + by[0] * step, y: frame.y + by[1] * step }));
    else if (event.key === "+" || event.key === "=") setFrame(zoomed(frame, size(), ZOOM));
    else if (event.key === "-") setFrame(zoomed(frame, size(), 1 / ZOOM));
    else if (event.key === "0" || event.key === "Home") setFrame(WHOLE);
    else if (event.key === "Enter") onLasso(corners(frame, size()));
    else if (event.key === "Escape" && held.current) cancel();
    else return;
    event.preventDefault();
  };
  const zoom = (factor, name, sign) => html`<button class="button" aria-label=${name} title=${name}
    onClick=${() => { setFrame(factor ? zoomed(frame, size(), factor) : WHOLE); say(name); }}>${sign}</button>`;
  return html`<div class="map-frame">
    <div class="map-tools" role="group" aria-label="Map">
      <button class="button" aria-pressed=${drawing} onClick=${() => setDrawing(!drawing)}><${Icon} name="lasso" />Lasso</button>
      ${zoom(ZOOM, "Zoom in", "+")}${zoom(1 / ZOOM, "Zoom out", "−")}${zoom(0, "Show all", "All")}
    </div>
    <canvas ref=${canvas} class=${drawing ? "drawing" : ""} tabindex="0" role="application" aria-roledescription="map"
      data-zoom=${frame.zoom.toFixed(2)} data-centre=${`${Math.round(frame.x)},${Math.round(frame.y)}`}
      aria-label="Map of the collection. Arrow keys move it, plus and minus zoom, 0 shows all, Enter chooses the images in view. Its areas are listed below."
      onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${cancel}
      onPointerLeave=${() => setNear(null)} onKeyDown=${keys} />
    ${near && html`<div class="map-near" style=${{ left: `${near.x}px`, top: `${near.y}px` }}>
      <${Thumbnail} key=${near.place} image=${{ id: plane.images[near.place] }} /></div>`}
  </div>`;
}

/** Choosing a part of the image that lies below, by pointer or by keys. */
import { percent } from "../lib/format.js";
import { html, useRef } from "../lib/html.js";
import { t } from "../lib/text.js";
import { say } from "./notice.js";

const STEP = 0.02;
const LEAST = 0.04;
const between = (value, low, high) => Math.min(high, Math.max(low, value));
const rounded = (value) => between(Number(value.toFixed(4)), 0, 1);

/** @param {number[]} region */
const described = ([left, top, right, bottom]) =>
  t("region.where", { left: percent(left), right: percent(right), top: percent(top), bottom: percent(bottom) });

/**
 * @param {object} props
 * @param {number[] | null} props.region left, top, right, bottom in fractions
 * @param {(region: number[]) => void} props.onRegion
 * @param {(region: number[]) => void} props.onDone Enter
 */
export function RegionPicker({ region, onRegion, onDone }) {
  const frame = useRef(null);
  const start = useRef(null);
  const [left, top, right, bottom] = region ?? [0.25, 0.25, 0.75, 0.75];

  const at = (event) => {
    const box = frame.current.getBoundingClientRect();
    return [between((event.clientX - box.left) / box.width, 0, 1), between((event.clientY - box.top) / box.height, 0, 1)];
  };
  const drag = (event) => {
    if (!start.current) return;
    const [x, y] = at(event);
    const [fromX, fromY] = start.current;
    const corners = [Math.min(x, fromX), Math.min(y, fromY), Math.max(x, fromX), Math.max(y, fromY)];
    if (corners[2] - corners[0] >= LEAST && corners[3] - corners[1] >= LEAST) onRegion(corners.map(rounded));
  };
  const onKeyDown = (event) => {
    const [x, y] = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key] ?? [];
    if (event.key === "Enter") {
      event.preventDefault();
      onDone([left, top, right, bottom]);
    }
    if (x === undefined) return;
    event.preventDefault();
    const next = event.shiftKey
      ? [left, top, between(right + x, left + LEAST, 1), between(bottom + y, top + LEAST, 1)]
      : [left + between(x, -left, 1 - right), top + between(y, -top, 1 - bottom),
        right + between(x, -left, 1 - right), bottom + between(y, -top, 1 - bottom)];
    onRegion(next.map(rounded));
    say(described(next));
  };
  const stop = () => { start.current = null; };
  return html`<div class="region-frame" ref=${frame}
      onPointerDown=${(event) => {
        event.preventDefault();
        event.currentTarget.setPointerCapture(event.pointerId);
        start.current = at(event);
      }}
      onPointerMove=${drag} onPointerUp=${stop} onPointerCancel=${stop}>
    <div class="region" role="application" tabindex="0" aria-roledescription=${t("region.role")}
      aria-label=${t("region.name", { where: described([left, top, right, bottom]) })}
      onKeyDown=${onKeyDown}
      style=${{ left: `${left * 100}%`, top: `${top * 100}%`, width: `${(right - left) * 100}%`,
        height: `${(bottom - top) * 100}%` }} />
  </div>`;
}

/** A grid of tiles of which only the rows on the screen are in the document, however many there are. */
import { title } from "../lib/format.js";
import { html, signal, useEffect, useLayoutEffect, useRef, useState } from "../lib/html.js";
import { scrolled } from "../lib/route.js";
import { tileWidth } from "../lib/settings.js";
import { t } from "../lib/text.js";
import { SelectionBar, useSelection } from "./selection.js";

/** What the viewer steps through: the list of the grid that is shown, and `move`, which goes to a place in it. */
export const onScreen = signal(null);

const GAP = 12;
const TILE = 168;
/** Wider tiles than this are one to a row on a phone, others two. */
const WIDE = 200;
const ROWS_BEYOND = 2;
// Browsers stop at about 17 (Firefox) to 33 million pixels.
const TALLEST = 16_000_000;

/**
 * Where everything lies: `end` tiles, the bar on a row of its own, then the others on new rows.
 * @param {{width: number, total: number, end: number | null, least: number, foot: number, bar: number}} given
 */
export function layout({ width, total, end, least, foot, bar }) {
  const columns = Math.max(width < 520 && least < WIDE ? 2 : 1, Math.floor((width + GAP) / (least + GAP)));
  const side = Math.floor((width - GAP * (columns - 1)) / columns);
  const step = side + foot + GAP;
  const shown = Math.min(total, Math.floor(TALLEST / step) * columns);
  const before = end === null ? shown : Math.min(end, shown);
  const rowsBefore = Math.ceil(before / columns);
  const barTop = rowsBefore * step;
  const after = end === null ? 0 : bar;
  const rows = rowsBefore + Math.ceil((shown - before) / columns);
  return {
    columns, side, step, shown, before, rowsBefore, rows, barTop, height: rows * step + after,
    /** @param {number} row */
    top: (row) => row * step + (row >= rowsBefore ? after : 0),
    /** @param {number} row first place and the one after the last */
    places: (row) => row < rowsBefore ? [row * columns, Math.min(before, (row + 1) * columns)]
      : [before + (row - rowsBefore) * columns, Math.min(shown, before + (row - rowsBefore + 1) * columns)],
    /** @param {number} place */
    rowOf: (place) => place < before ? Math.floor(place / columns)
      : rowsBefore + Math.floor((place - before) / columns),
    /** @param {number} y in pixels from the top of the grid */
    rowAt: (y) => Math.max(0, Math.min(rows - 1, Math.floor((y - (y >= barTop + after ? after : 0)) / step))),
  };
}

/**
 * @param {object} props
 * @param {string} props.label what the list is, for screen readers
 * @param {import("../lib/pages.js").List<any, any>} props.list
 * @param {(item: any, place: number, active: boolean) => any} props.tile
 * @param {number | null} [props.end] tiles before the bar
 * @param {any} [props.bar]
 * @param {(item: any, key: string) => void} [props.onKey] keys that the grid does not use itself
 * @param {string} [props.entity] that the images may show, which a selection of them is judged for
 * @param {number[]} [props.picked] ids of images that are selected at first
 * @param {number} [props.foot] height below the image, px
 */
export function Grid({ label, list, tile, end = null, bar = null, onKey, entity = "", picked = [], foot = 64 }) {
  const element = useRef(null);
  const [width, setWidth] = useState(0);
  const [view, setView] = useState({ top: 0, height: innerHeight });
  const [active, setActiveState] = useState(0);
  // What the next key starts from, also where it comes before the next rendering.
  const now = useRef(0);
  const setActive = (place) => {
    now.current = place;
    setActiveState(place);
  };
  const focusing = useRef(false);
  const total = list.total ?? 0;
  const selection = useSelection(list, end, picked);

  useLayoutEffect(() => {
    const measure = () => {
      setWidth(element.current.clientWidth);
      follow();
    };
    const follow = () => {
      const top = -element.current.getBoundingClientRect().top;
      setView((old) => (Math.abs(old.top - top) < 8 && old.height === innerHeight ? old : { top, height: innerHeight }));
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element.current);
    addEventListener("scroll", follow, { passive: true });
    addEventListener("resize", measure);
    measure();
    return () => {
      observer.disconnect();
      removeEventListener("scroll", follow);
      removeEventListener("resize", measure);
    };
  }, []);

  const least = tileWidth(TILE);
  const plan = layout({ width: width || 320, total, end, least, foot, bar: width < 620 ? 128 : 84 });
  const first = Math.max(0, plan.rowAt(Math.max(0, view.top)) - ROWS_BEYOND);
  const last = Math.min(plan.rows - 1, plan.rowAt(Math.max(0, view.top + view.height)) + ROWS_BEYOND);
  const from = plan.rows ? plan.places(first)[0] : 0;
  const to = plan.rows ? plan.places(last)[1] : 0;
  // One tile is in the order of tabs: the one that was last looked at, or the first on the screen.
  const stop = active >= from && active < to ? active : from;
  useEffect(() => { if (to > from) list.look(from, to); }, [from, to, list]);
  useLayoutEffect(() => {
    if (!focusing.current) return;
    const button = element.current.querySelector(`[data-place="${active}"] button.tile-open`);
    if (button) {
      focusing.current = false;
      button.focus({ preventScroll: true });
    }
  });

  // Where the tiles' size is changed, what was at the top stays there.
  const before = useRef({ least, place: 0 });
  useLayoutEffect(() => {
    if (before.current.least === least) before.current.place = plan.rows ? plan.places(plan.rowAt(Math.max(0, view.top)))[0] : 0;
    else if (view.top > 0) scrollBy(0, element.current.getBoundingClientRect().top + plan.top(plan.rowOf(before.current.place)));
    before.current.least = least;
  });

  // Back at a view that was left, where it was left.
  useLayoutEffect(() => {
    if (!scrolled.y || list.total === null || list.replaced) return;
    scrollTo(0, scrolled.y);
    scrolled.y = 0;
  });

  const move = (place) => {
    const wanted = Math.max(0, Math.min(plan.shown - 1, place));
    const box = element.current.getBoundingClientRect();
    const top = box.top + plan.top(plan.rowOf(wanted));
    const head = document.querySelector(".top")?.getBoundingClientRect().bottom ?? 0;
    if (top < head + GAP) scrollBy(0, top - head - GAP);
    else if (top + plan.step > innerHeight) scrollBy(0, top + plan.step - innerHeight + GAP);
    focusing.current = true;
    setActive(wanted);
  };
  // Anew with each rendering: the list is the same object when more of it has been loaded.
  useLayoutEffect(() => { onScreen.value = { list, move }; });
  useLayoutEffect(() => () => { onScreen.value = null; }, []);
  const onKeyDown = (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = plan.columns * Math.max(1, Math.floor(innerHeight / plan.step) - 1);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -plan.columns, ArrowDown: plan.columns,
      PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity };
    if (event.key in steps) {
      event.preventDefault();
      move(now.current + steps[event.key]);
    } else if (event.key.toLowerCase() === "x" && list.at(now.current)) selection.pick(now.current, event.shiftKey);
    else if (onKey && list.at(now.current)) onKey(list.at(now.current), event.key);
  };

  const tiles = [];
  for (let row = first; row <= last; row += 1) {
    const [start, past] = plan.places(row);
    for (let place = start; place < past; place += 1) {
      const left = (place - start) * (plan.side + GAP);
      const item = list.at(place);
      const image = item?.image ?? item;
      tiles.push(html`<div key=${place} role="listitem" class=${`tile-slot ${selection.ids.has(image?.id) ? "picked" : ""}`} data-place=${place}
          aria-posinset=${place + 1} aria-setsize=${total}
          style=${{ transform: `translate(${left}px, ${plan.top(row)}px)`, width: `${plan.side}px`,
            height: `${plan.step - GAP}px`, "--side": `${plan.side}px` }}
          onFocusIn=${() => { if (place !== active) setActive(place); }}>
        ${item ? tile(item, place, place === stop) : html`<div class="tile blank"><div class="tile-open" /></div>`}
        ${item && html`<input type="checkbox" class="pick-tile" aria-label=${t("grid.select", { name: title(image) })} tabindex=${place === stop ? 0 : -1}
          checked=${selection.ids.has(image.id)} onMouseDown=${(event) => { if (event.shiftKey) event.preventDefault(); }}
          onClick=${(event) => selection.pick(place, event.shiftKey)} />`}
      </div>`);
    }
  }
  return html`<div class=${`grid-frame ${selection.ids.size ? "picking" : ""}`} ref=${element} style=${{ height: `${plan.height}px` }}>
    ${end !== null && html`<div class="grid-bar" style=${{ transform: `translateY(${plan.barTop}px)` }}>${bar}</div>`}
    <div role="list" aria-label=${label} aria-busy=${list.busy} onKeyDown=${onKeyDown}>${tiles}</div>
  </div>
  ${plan.shown < total && html`<p class="faint center">${t("grid.end", { shown: plan.shown, total })}</p>`}
  <${SelectionBar} selection=${selection} entity=${entity} onEmpty=${() => move(now.current)} />`;
}

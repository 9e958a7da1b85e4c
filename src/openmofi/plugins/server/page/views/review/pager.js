/** The grid of an entity: everything is right until it is marked; Enter takes the page. */
import { api } from "../../lib/api.js";
import { title } from "../../lib/format.js";
import { html, useEffect, useRef, useState } from "../../lib/html.js";
import { useKeys } from "../../lib/keys.js";
import { href } from "../../lib/route.js";
import { tileWidth } from "../../lib/settings.js";
import { t } from "../../lib/text.js";
import { Icon } from "../../parts/icons.js";
import { Empty, Failure, say, Waiting } from "../../parts/notice.js";
import { Thumbnail } from "../../parts/tile.js";
import { wordOf } from "../../parts/verdict.js";
import { reviewer } from "./reviewer.js";
import { judge, takeBack } from "./verdicts.js";

const TILE = 150;
const GAP = 8;
const HEAD = 300;

/** How many tiles fill the screen, at least three rows. */
function pageSize() {
  const width = (document.querySelector("main")?.clientWidth ?? innerWidth) - (innerWidth > 760 ? 48 : 32);
  const columns = Math.max(2, Math.floor((width + GAP) / (tileWidth(TILE) + GAP)));
  return Math.min(60, columns * Math.max(3, Math.floor((innerHeight - HEAD) / (width / columns))));
}

const AGENT = "agent:";

/** The page that a session ended over, with its marks, until its reviewer has signed in again. */
let left = null;

/**
 * Who judged labels of a page while it was looked at: it had none that a person had judged.
 * @param {string} entity @param {any[]} page @param {Record<number, string>} said by image @param {number[]} ids of one's own verdicts
 * @returns {Promise<{names: string, count: number, otherwise: number} | null>}
 */
async function faster(entity, page, said, ids) {
  const shown = new Map(page.map(({ image }) => [`${image.shard} ${image.key}`, said[image.id]]));
  const others = (await api.verdicts({ entity })).filter(({ id, who, shard, key }) => !ids.includes(id) && !who.startsWith(AGENT) && shown.has(`${shard} ${key}`));
  const last = new Map(others.reverse().map(({ shard, key, verdict }) => [`${shard} ${key}`, verdict]));
  return last.size ? { names: [...new Set(others.map(({ who }) => who || t("reviewer.nameless")))].join(", "), count: last.size,
    otherwise: [...last].filter(([label, verdict]) => verdict !== shown.get(label)).length } : null;
}

const told = ({ names, count, otherwise }) => t("pager.faster", { names, count, otherwise });

/** @param {{entity: string, name: string}} props */
export function Pager({ entity, name }) {
  const [page, setPage] = useState(null);
  const [values, setValues] = useState({});
  const [others, setOthers] = useState(null);
  const [resumed, setResumed] = useState(false);
  const [gone, setGone] = useState(new Set());
  const [past, setPast] = useState([]);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const [active, setActive] = useState(0);
  const grid = useRef(null);
  const painting = useRef(null);

  const next = async () => {
    setError(null);
    try {
      setPage(await api.review({ entity, order: "doubt", accepted: true, who: reviewer.value, limit: pageSize() }));
      setValues({});
      setResumed(false);
      setActive(0);
    } catch (failed) {
      setError(failed);
    }
  };
  useEffect(() => {
    const before = left?.entity === entity && left.who === reviewer.value ? left : null;
    left = null;
    if (before) {
      setPage(before.page);
      setValues(before.values);
      setResumed(true);
    } else next();
  }, []);

  const accept = async () => {
    if (busy || !page?.length) return;
    if ([...grid.current.querySelectorAll("img")].some((image) => !image.complete)) {
      say(t("pager.early"));
      return;
    }
    setBusy(true);
    setError(null);
    try {
      const said = Object.fromEntries(page.map(({ image }) => [image.id, valueOf(image)]));
      const ids = await judge(page.map(({ image }) => ({ image, entity, value: said[image.id] })));
      const wrong = page.filter(({ image }) => values[image.id] === "n").length;
      setPast([...past, { ids, page, values }]);
      const met = await faster(entity, page, said, ids).catch(() => null); // they are kept, whoever else judged
      setOthers(met);
      say(`${t("pager.taken", { count: page.length, wrong })}${met ? ` ${told(met)}` : ""}`);
      await next();
      grid.current?.querySelector("button")?.focus();
    } catch (failed) {
      if (failed.status === 401) left = { entity, page, values, who: reviewer.value };
      setError(failed);
    } finally {
      setBusy(false);
    }
  };
  const undo = async () => {
    const last = past.at(-1);
    if (busy || !last) return;
    setBusy(true);
    try {
      await takeBack(last.ids);
      setPast(past.slice(0, -1));
      setOthers(null);
      setPage(last.page);
      setValues(last.values);
      say(t("pager.undone"));
    } catch (failed) {
      setError(failed);
    } finally {
      setBusy(false);
    }
  };
  // What cannot be shown is not taken as right.
  const valueOf = (image) => values[image.id] ?? (gone.has(image.id) ? "u" : "y");
  const set = (place, value) => {
    const id = page[place]?.image.id;
    if (id !== undefined) setValues((old) => ({ ...old, [id]: value }));
  };
  const turn = (place, value) => {
    const { id } = page[place].image;
    setValues((old) => ({ ...old, [id]: valueOf({ id }) === value ? "y" : value }));
  };

  useKeys((event) => {
    if (event.key === "z") {
      undo();
      return true;
    }
    if (!page?.length) return false;
    const columns = Math.max(1, Math.round(grid.current.clientWidth / (grid.current.firstElementChild.offsetWidth + GAP)));
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    const inGrid = grid.current.contains(document.activeElement);
    const free = inGrid || document.activeElement === document.body || document.activeElement?.id === "main";
    if (event.key === "Enter" && free) !event.repeat && accept();
    else if (event.key === "n" || event.key === "x" || (event.key === " " && inGrid)) turn(active, "n");
    else if (event.key === "u") turn(active, "u");
    else if (event.key === "y") set(active, "y");
    else if (step && free) {
      const place = Math.max(0, Math.min(page.length - 1, active + step));
      setActive(place);
      grid.current.querySelectorAll("button")[place].focus();
    } else return false;
    return true;
  });

  // A mouse or pen that is dragged gives all tiles the value of the first; a finger scrolls, and taps.
  const start = (event, place) => {
    if (event.pointerType === "touch" || event.button) return;
    const value = valueOf(page[place].image) === "n" ? "y" : "n";
    painting.current = value;
    set(place, value);
    const stop = () => { setTimeout(() => { painting.current = null; }); removeEventListener("pointerup", stop); };
    addEventListener("pointerup", stop);
  };
  const over = (event) => {
    if (!painting.current || !event.buttons) return;
    const place = document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-place]")?.dataset.place;
    if (place !== undefined) set(Number(place), painting.current);
  };
  const marked = page?.filter(({ image }) => valueOf(image) !== "y").length ?? 0;
  const failure = error && html`<${Failure} error=${error} retry=${page ? undefined : next} />`;
  if (!page) return failure || html`<${Waiting} />`;
  return html`
    ${failure}
    ${resumed && html`<p class="note" role="note">${t("pager.resumed", { name: reviewer.value || t("reviewer.nameless") })}${" "}
      <button type="button" class="button small" onClick=${next}>${t("pager.anew")}</button></p>`}
    ${others && html`<p class="note" role="note">${told(others)}</p>`}
    ${page.length === 0 ? html`<${Empty} title=${t("pager.done")}>
        <p>${t("pager.next", { entity: html`<a href=${href(["entity", entity])}>${t("pager.entity")}</a>`,
          other: html`<a href="#/review">${t("pager.other")}</a>` })}</p><//>`
      : html`<p class="keys">${t("pager.keys", { arrows: html`<kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd>`, wrong: html`<kbd>n</kbd>`,
          space: html`<kbd>${t("key.space")}</kbd>`, unsure: html`<kbd>u</kbd>`, enter: html`<kbd>${t("key.enter")}</kbd>`, undo: html`<kbd>z</kbd>` })}</p>
        <div class="judge-grid" ref=${grid} role="group" aria-label=${t("pager.grid", { name })}
          style=${{ "--least": `${tileWidth(TILE)}px` }} onPointerMove=${over}>
          ${page.map(({ image }, place) => {
            const value = valueOf(image);
            return html`<button key=${image.id} type="button" class=${`judge ${value}`} data-place=${place}
                tabindex=${place === active ? 0 : -1} aria-label=${`${title(image)}: ${wordOf(value)}`}
                onFocus=${() => setActive(place)} onPointerDown=${(event) => start(event, place)}
                onKeyDown=${(event) => { if (event.key === "Enter") event.preventDefault(); }}
                onClick=${(event) => { if (event.detail && !painting.current) turn(place, "n"); }}>
              <${Thumbnail} key=${image.id} image=${image} onGone=${() => setGone((old) => new Set(old).add(image.id))} />
              <span class="mark"><${Icon} name=${{ y: "check", n: "close", u: "question" }[value]} /></span>
            </button>`;
          })}
        </div>`}
    <div class="judge-bar">
      <button class="button main" disabled=${busy || !page.length} onClick=${accept}>
        <${Icon} name="check" />${t("pager.take", { right: page.length - marked, wrong: marked })}</button>
      <button class="button" disabled=${busy || !past.length} onClick=${undo}><${Icon} name="undo" /><span class="undo">${t("undo")}</span></button>
      <p class="faint">${past.length > 0 && t("pager.judged", { count: past.reduce((sum, each) => sum + each.page.length, 0) })}</p>
    </div>`;
}

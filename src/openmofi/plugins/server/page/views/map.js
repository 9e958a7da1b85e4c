/** The map of the collection: images that are alike lie near each other; a lasso or an area shows its images. */
import { api, ApiError } from "../lib/api.js";
import { plainType } from "../lib/format.js";
import { html, useEffect, useMemo, useRef, useState } from "../lib/html.js";
import { names, wantName } from "../lib/known.js";
import { BACK } from "../lib/paint.js";
import { inside, placeOf, readFrame, readLasso, written, writtenFrame } from "../lib/plane.js";
import { body, ranks, readQuery, writeQuery } from "../lib/query.js";
import { go, href, route } from "../lib/route.js";
import { number, t } from "../lib/text.js";
import { tilesOf } from "../lib/tiles.js";
import { Empty, Failure, say, Waiting } from "../parts/notice.js";
import { Scatter } from "../parts/scatter.js";
import { Chosen, useShown } from "./chosen.js";

const REST_MS = 300;
/** Images of a search that are marked: those that are likely, or the first where the index cannot say. */
const [MOST_MARKED, FIRST_MARKED] = [500, 100];
const NONE = [];
/** Shares of a second colour that marks which step back are made of. */
const FADED = 0.86;

export function MapView() {
  const [plane, setPlane] = useState(null);
  const [error, setError] = useState(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let current = true;
    api.map().then((answer) => current && setPlane(answer), (failed) => current && setError(failed));
    return () => { current = false; };
  }, [turn]);
  const retry = () => {
    setError(null);
    setTurn(turn + 1);
  };
  // Another commit while it is looked at has other tiles.
  const failed = (why) => why instanceof ApiError && why.status === 409 ? setTurn(turn + 1) : setError(why);
  return html`<h1>${t("view.map")}</h1>${error ? html`<${Failure} error=${error} retry=${retry} />` : !plane ? html`<${Waiting} />`
    : !plane.images ? html`<${Empty} title=${t("map.none")}><p>${plane.note}</p><//>`
      : html`<${Whole} plane=${plane} onError=${failed} />`}`;
}

/** Ways to colour: names of the colours with how many images, which colour of the style sheet (0 for the rest), and which is an image's. */
function waysOf(plane) {
  const { types } = plane;
  return {
    "": { title: t("types"), of: (tile, row) => tile.type[row],
      names: [...types.map(({ type, images }, place) => [plainType(type) || type, place + 1, images]),
        [t("map.otherTypes"), 0, plane.other], [t("map.noLabel"), 0, plane.unlabelled]] },
    probability: { title: t("map.byProbability"), of: (tile, row) => {
      const value = (tile.probability[row] - 1) / 254;
      return value < 0 ? 4 : value >= 0.95 ? 0 : value >= 0.8 ? 1 : value >= 0.5 ? 2 : 3;
    }, names: [[t("map.from95"), 4], [t("map.from80"), 2], [t("map.from50"), 1], [t("map.below50"), 6], [t("map.noLabel"), 0]] },
    verdict: { title: t("map.byVerdict"), of: (tile, row) => (tile.verdict[row] + 3) % 4,
      names: [[t("said.right"), 4], [t("said.wrong"), 6], [t("said.unsure"), 3], [t("map.unjudged"), 0]] },
  };
}

/** The 16 colours of a way, of the theme: the second half is of what steps back. @param {HTMLElement} element */
function coloursOf(element, { names }) {
  const style = getComputedStyle(element);
  const value = (name) => {
    const digits = style.getPropertyValue(name).trim().slice(1).replace(/^(.)(.)(.)$/, "$1$1$2$2$3$3");
    return [0, 2, 4].map((at) => Number.parseInt(digits.slice(at, at + 2), 16) / 255);
  };
  const surface = value("--surface");
  const full = Array.from({ length: BACK }, (_, place) => [...value(names[place]?.[1] ? `--map-${names[place][1]}` : "--map-rest"),
    place === names.length - 1 ? 0.6 : 1]);
  return [...full, ...full.map(([red, green, blue, size]) => [...[red, green, blue].map((part, at) => part + (surface[at] - part) * FADED), size])];
}

/** What the address says of the map, and how it is changed. */
function useAddress(plane) {
  const { params } = route.value;
  const given = params.get("at") ?? "";
  const [frame, setFrame] = useState(() => readFrame(given, plane.bounds));
  const noted = useRef(given);
  useEffect(() => {
    if (given === noted.current) return;
    noted.current = given;
    setFrame(readFrame(given, plane.bounds));
  }, [given]);
  const set = (values, replace = false) => {
    const next = new URLSearchParams(route.value.params);
    Object.entries(values).forEach(([name, value]) => value ? next.set(name, value) : next.delete(name));
    go(href(["map"], next), replace);
  };
  useEffect(() => {
    const resting = setTimeout(() => {
      const text = writtenFrame(frame, plane.bounds);
      if (text === noted.current || route.value.view !== "map") return;
      noted.current = text;
      set({ at: text }, true);
    }, REST_MS);
    return () => clearTimeout(resting);
  }, [frame]);
  return { params, frame, setFrame, set };
}

/** Images that a lasso or an area chooses. @returns {{total: number, images: number[]} | null} */
function useChosen(plane, given, area, onError) {
  const [chosen, setChosen] = useState(null);
  useEffect(() => {
    setChosen(null);
    if (!given && area === null) return undefined;
    const ended = new AbortController();
    api.mapChosen(given ? { lasso: readLasso(given) } : { area }, ended.signal).then((found) => {
      setChosen(found);
      say(`${t("map.chosen", { count: found.total })}.`);
    }, (failed) => { if (!ended.signal.aborted) onError(failed); });
    return () => ended.abort();
  }, [plane, given, area]);
  return chosen;
}

/** Places of what a search of the address finds. */
function useMarked(query, onError) {
  const asked = ranks(query) ? JSON.stringify(body(query)) : "";
  const [marked, setMarked] = useState(NONE);
  useEffect(() => {
    setMarked(NONE);
    if (!asked) return undefined;
    const ended = new AbortController();
    (async () => {
      const { hits, end } = await api.search({ ...JSON.parse(asked), limit: MOST_MARKED }, ended.signal);
      const ids = hits.slice(0, end || FIRST_MARKED).map(({ image }) => image.id);
      const { x, y } = ids.length ? await api.mapPlaces(ids, ended.signal) : { x: [], y: [] };
      setMarked(x.map((value, place) => [value, y[place]]));
      say(t("map.marked", { count: x.length }));
    })().catch((failed) => { if (!ended.signal.aborted) onError(failed); });
    return () => ended.abort();
  }, [asked]);
  return { asked, marked };
}

function Whole({ plane, onError }) {
  const { params, frame, setFrame, set } = useAddress(plane);
  const [bright, setBright] = useState(null);
  const [turn, setTurn] = useState(0);
  const { open, detail } = useShown(["map"]);
  const given = readLasso(params.get("lasso") ?? "") ? params.get("lasso") : "";
  const lasso = useMemo(() => given ? readLasso(given) : null, [given]);
  const named = params.has("area") ? Number(params.get("area")) : null;
  const area = !given && plane.areas[named] ? named : null;
  const chosen = useChosen(plane, given, area, onError);
  const query = readQuery(params);
  const { asked, marked } = useMarked(query, onError);
  useEffect(() => { wantName(query.entity); }, [query.entity]);
  const what = query.text || names.value[query.entity] || query.entity;
  const tiles = useMemo(() => tilesOf(plane, () => setTurn((old) => old + 1), onError), [plane]);
  useEffect(() => tiles.close, [tiles]);
  const ways = waysOf(plane);
  const wanted = params.get("colour") ?? "";
  const way = Object.hasOwn(ways, wanted) ? wanted : "";
  const style = (element) => {
    const colours = coloursOf(element, ways[way]);
    const { of } = ways[way];
    const stands = (tile, row, code) => (bright === null || bright === code) && (area === null || tile.area[row] === area)
      && (!lasso || inside(lasso, ...placeOf(tile, row)));
    return { key: [colours, way, bright, area, given].join("|"), colours, shade: (tile, row) => {
      const code = Math.min(BACK - 1, of(tile, row));
      return stands(tile, row, code) ? code : code + BACK;
    } };
  };
  return html`
    <p class="lead">${t("map.lead", { count: plane.images })}${plane.missing > 0 && ` ${t("map.missing", { count: plane.missing })}`}</p>
    ${asked && html`<div class="results-head"><p>${t(what ? "map.markedFor" : "map.markedSearch", { what, images: html`<strong>${t("images", { count: marked.length })}</strong>` })}</p>
      <button class="button" onClick=${() => set(Object.fromEntries([...writeQuery(query).keys()].map((name) => [name, ""])))}>${t("map.markNone")}</button></div>`}
    <div class="map">
      <${Scatter} plane=${plane} tiles=${tiles} turn=${turn} style=${style} frame=${frame} onFrame=${setFrame} lasso=${lasso} marked=${marked}
        onLasso=${(path) => set({ lasso: written(path), area: "" })} onOpen=${open} />
      <div class="map-side">
        <${Legend} ways=${ways} way=${way} bright=${bright} onBright=${setBright}
          onWay=${(next) => { setBright(null); set({ colour: next }, true); }} />
        <${Areas} plane=${plane} area=${area} params=${params} />
      </div>
    </div>
    ${chosen && html`<${Lassoed} key=${`${given} ${area}`} chosen=${chosen}
      onOpen=${(image) => open(image.id, image)} onNone=${() => set({ lasso: "", area: "" })} />`}
    ${detail}`;
}

function Legend({ ways, way, bright, onBright, onWay }) {
  const { names } = ways[way];
  return html`<section aria-labelledby="legend"><h2 id="legend">${ways[way].title}</h2>
    <label class="field inline"><span>${t("map.colours")}</span> <select value=${way} onChange=${(event) => onWay(event.currentTarget.value)}>
      ${Object.entries(ways).map(([value, { title }]) => html`<option key=${value} value=${value} selected=${value === way}>${title}</option>`)}</select></label>
    <ul class="legend">${names.map(([name, colour, images], kind) => images !== 0 && html`<li key=${name}>
      <button type="button" aria-pressed=${bright === kind} title=${t("map.standOut", { name })}
        onClick=${() => onBright(bright === kind ? null : kind)}>
        <span class=${`swatch ${colour ? `of-${colour}` : kind === names.length - 1 ? "small" : ""}`} />
        <span>${name}</span>${images !== undefined && html` <span class="figure">${number(images)}</span>`}</button></li>`)}</ul></section>`;
}

/** What the map shows, in words: for those who do not see it, and as a way in for all. */
function Areas({ plane, area, params }) {
  const leading = (place) => {
    const next = new URLSearchParams(params);
    next.delete("lasso");
    if (place === area) next.delete("area");
    else next.set("area", String(place));
    return href(["map"], next);
  };
  return html`<section aria-labelledby="areas"><h2 id="areas">${t("map.areas")}</h2>
    <ol class="areas">${plane.areas.map(({ images, entities, type }, place) => html`<li key=${place}>
      <a href=${leading(place)} aria-current=${place === area ? "true" : undefined}>
        <span>${entities.join(", ") || type || t("map.area", { place: place + 1 })}</span> <span class="figure">${t("images", { count: images })}</span></a></li>`)}</ol>
  </section>`;
}

function Lassoed({ chosen: { total, images }, onOpen, onNone }) {
  const head = useRef(null);
  useEffect(() => { if (head.current.getBoundingClientRect().top > innerHeight - 60) head.current.scrollIntoView({ block: "center" }); }, []);
  return html`<section aria-labelledby="chosen">
    <div class="results-head"><h2 id="chosen" ref=${head}>${t("map.chosen", { count: total })}</h2>
      <button class="button" onClick=${onNone}>${t("map.chooseNone")}</button></div>
    ${total > images.length && html`<p class="note" role="note">${t("map.first", { count: images.length })}</p>`}
    ${total ? html`<${Chosen} ids=${images} picked onOpen=${onOpen} />`
      : html`<${Empty} title=${t("map.empty")}><p>${t("map.emptyHint")}</p><//>`}
  </section>`;
}

/** The map of the collection: images that are alike lie near each other; a lasso or an area shows its images. */
import { api } from "../lib/api.js";
import { counted, number, plainType } from "../lib/format.js";
import { html, useEffect, useMemo, useRef, useState } from "../lib/html.js";
import { inside, read, readLasso, written } from "../lib/plane.js";
import { go, href, route } from "../lib/route.js";
import { Empty, Failure, say, Waiting } from "../parts/notice.js";
import { Scatter } from "../parts/scatter.js";
import { Chosen, useShown } from "./chosen.js";

export function MapView() {
  const [plane, setPlane] = useState(null);
  const [error, setError] = useState(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let current = true;
    api.map().then((answer) => current && setPlane(read(answer)), (failed) => current && setError(failed));
    return () => { current = false; };
  }, [turn]);
  const retry = () => {
    setError(null);
    setTurn(turn + 1);
  };
  return html`<h1>Map</h1>${error ? html`<${Failure} error=${error} retry=${retry} />` : !plane ? html`<${Waiting} />`
    : !plane.images.length ? html`<${Empty} title="There is no map"><p>${plane.note}</p><//>`
      : html`<${Whole} plane=${plane} />`}`;
}

/** Places that the address chooses, `null` for none. */
function useChosen(plane, lasso, area) {
  return useMemo(() => {
    if (lasso) return inside(plane, lasso);
    if (area === null) return null;
    return Array.from(plane.area.keys()).filter((place) => plane.area[place] === area);
  }, [plane, lasso, area]);
}

function Whole({ plane }) {
  const { params } = route.value;
  const [bright, setBright] = useState(null);
  const { open, detail } = useShown(["map"]);
  const given = params.get("lasso") ?? "";
  const lasso = useMemo(() => readLasso(given), [given]);
  const named = params.has("area") ? Number(params.get("area")) : null;
  const area = plane.areas[named] ? named : null;
  const places = useChosen(plane, lasso, area);
  const chosen = useMemo(() => places && new Set(places), [places]);
  const ids = useMemo(() => places?.map((place) => plane.images[place]), [places]);
  useEffect(() => { if (places) say(`${counted(places.length, "image")} chosen.`); }, [places]);
  const set = (values) => {
    const next = new URLSearchParams(params);
    Object.entries(values).forEach(([name, value]) => value ? next.set(name, value) : next.delete(name));
    go(href(["map"], next));
  };
  return html`
    <p class="lead">${counted(plane.images.length, "image")}; those that are alike lie near each other.${
      plane.missing > 0 && ` ${counted(plane.missing, "image")} came since and are not on it: openmofi index map INDEX makes it anew.`}</p>
    <div class="map">
      <${Scatter} plane=${plane} chosen=${chosen} lasso=${lasso} bright=${bright}
        onLasso=${(path) => set({ lasso: written(path), area: "" })} onOpen=${open} />
      <div class="map-side">
        <${Legend} plane=${plane} bright=${bright} onBright=${setBright} />
        <${Areas} plane=${plane} area=${area} />
      </div>
    </div>
    ${ids && html`<${Lassoed} key=${`${given} ${area}`} ids=${ids}
      onOpen=${(image) => open(image.id, image)} onNone=${() => set({ lasso: "", area: "" })} />`}
    ${detail}`;
}

function Legend({ plane, bright, onBright }) {
  const names = [...plane.types.map(({ type }) => plainType(type) || type), "other types", "no label"];
  const counts = useMemo(() => {
    const made = names.map(() => 0);
    plane.type.forEach((kind) => { made[kind] += 1; });
    return made;
  }, [plane]);
  return html`<section aria-labelledby="legend"><h2 id="legend">Types</h2>
    <ul class="legend">${names.map((name, kind) => counts[kind] > 0 && html`<li key=${name}>
      <button type="button" aria-pressed=${bright === kind} title=${`Let ${name} stand out`}
        onClick=${() => onBright(bright === kind ? null : kind)}>
        <span class=${`swatch ${kind < plane.types.length ? `of-${kind + 1}` : kind === plane.types.length ? "" : "small"}`} />
        <span>${name}</span> <span class="figure">${number(counts[kind])}</span></button></li>`)}</ul></section>`;
}

/** What the map shows, in words: for those who do not see it, and as a way in for all. */
function Areas({ plane, area }) {
  return html`<section aria-labelledby="areas"><h2 id="areas">Areas</h2>
    <ol class="areas">${plane.areas.map(({ images, entities, type }, place) => images > 0 && html`<li key=${place}>
      <a href=${href(["map"], place === area ? {} : { area: String(place) })} aria-current=${place === area ? "true" : undefined}>
        <span>${entities.join(", ") || type || `Area ${place + 1}`}</span> <span class="figure">${counted(images, "image")}</span></a></li>`)}</ol>
  </section>`;
}

function Lassoed({ ids, onOpen, onNone }) {
  const head = useRef(null);
  useEffect(() => { if (head.current.getBoundingClientRect().top > innerHeight - 60) head.current.scrollIntoView({ block: "center" }); }, []);
  return html`<section aria-labelledby="chosen">
    <div class="results-head"><h2 id="chosen" ref=${head}>${counted(ids.length, "image")} chosen</h2>
      <button class="button" onClick=${onNone}>Choose none</button></div>
    ${ids.length ? html`<${Chosen} ids=${ids} picked onOpen=${onOpen} />`
      : html`<${Empty} title="No image lies here"><p>Draw around some points, or take an area.</p><//>`}
  </section>`;
}

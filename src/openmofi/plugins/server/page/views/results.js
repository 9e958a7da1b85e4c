/** What a search found: the count, the end of what is expected to be right, and the grid. */
import { api } from "../lib/api.js";
import { counted, number, percent } from "../lib/format.js";
import { html, useEffect, useMemo, useState } from "../lib/html.js";
import { info } from "../lib/known.js";
import { usePages } from "../lib/pages.js";
import { body, LEVELS, mark, ranks } from "../lib/query.js";
import { href } from "../lib/route.js";
import { Chip } from "../parts/chip.js";
import { Grid } from "../parts/grid.js";
import { Icon } from "../parts/icons.js";
import { Empty, Failure, say, Waiting } from "../parts/notice.js";
import { Probability } from "../parts/probability.js";
import { Tile } from "../parts/tile.js";

const STANDARD = 0.9;
const MOST_CHIPS = 10;

/**
 * @param {object} props
 * @param {import("../lib/query.js").Query} props.query
 * @param {(query: import("../lib/query.js").Query) => void} props.onQuery
 * @param {(query: import("../lib/query.js").Query) => void} props.onRefine replaces the step in the history
 * @param {(image: any) => void} props.onOpen
 */
export function Results({ query, onQuery, onRefine, onOpen }) {
  const asked = body(query);
  const key = JSON.stringify(asked);
  const list = usePages(async (offset, limit, signal) => {
    const { hits, total, ...about } = await api.search({ ...asked, limit, offset }, signal);
    return { items: hits, total, about };
  }, key);
  const cut = useCut(list.about, asked, query.until, key);
  const ranked = ranks(query);
  useEffect(() => {
    if (list.total !== null && !list.replaced) say(list.total ? `${counted(list.total, "image")}.` : "Nothing was found.");
  }, [list.total, list.replaced, key]);

  if (list.error && list.total === null) return html`<${Failure} error=${list.error} retry=${() => list.retry()} />`;
  if (list.total === null) return html`<${Waiting} what="Searching" />`;
  if (list.total === 0) {
    const filtered = Object.values(query.filters).some(Boolean);
    return html`<${Empty} title=${ranked || filtered ? "Nothing was found" : "The index is empty"}>
      <p>${filtered ? "No image passes the filters." : ranked ? "Say it in other words." : "Images come in with openmofi index add."}</p>
      ${filtered && html`<button class="button" onClick=${() => onQuery({ ...query, filters: {} })}>Remove the filters</button>`}<//>`;
  }
  const end = ranked && cut && cut.end !== null ? Math.min(cut.end, list.total) : null;
  const judge = (image, way) => {
    say(way === "more" ? "More like this." : "Less like this.");
    onRefine(mark(query, image.id, way));
  };
  return html`
    <section aria-label="Results" class=${list.replaced ? "replaced" : ""}>
      <${Head} list=${list} query=${query} cut=${cut} ranked=${ranked} onRefine=${onRefine} />
      ${list.about?.note && html`<p class="note" role="note">${list.about.note}</p>`}
      ${list.error && html`<${Failure} error=${list.error} retry=${() => list.retry()} />`}
      <${Facets} hits=${end > 0 ? list.seen().filter(({ rank }) => rank <= end) : list.seen()} query=${query} onQuery=${onQuery} />
      <${Grid} label="Images" list=${list} entity=${query.entity || query.filters.entity} end=${end} bar=${html`<${Bar} cut=${cut} end=${end} total=${list.total} />`}
        onKey=${(hit, pressed) => { if (pressed === "+" || pressed === "-") judge(hit.image, pressed === "+" ? "more" : "less"); }}
        tile=${(hit, place, active) => html`<${Found} hit=${hit} active=${active} query=${query} ranked=${ranked}
          beyond=${end > 0 && place >= end} onOpen=${() => onOpen(hit.image)} onJudge=${judge} />`} />
    </section>`;
}

/** The end at the wanted precision; that at the standard comes with the results themselves. */
function useCut(about, asked, until, key) {
  const [other, setOther] = useState(null);
  useEffect(() => {
    setOther(null);
    if (until === STANDARD || !about || about.end === null) return undefined;
    const control = new AbortController();
    api.search({ ...asked, until, limit: 1 }, control.signal).then(setOther, () => {});
    return () => control.abort();
  }, [key, until, about]);
  return until === STANDARD ? about : other;
}

function Head({ list, query, cut, ranked, onRefine }) {
  const about = list.about;
  return html`<div class="results-head">
    <p class="count"><strong>${number(list.total)}</strong> ${list.total === 1 ? "image" : "images"}
      ${ranked && cut?.end != null && html`<span class="faint"> · ${[
        cut.end > 0 && `about ${number(cut.expected_right)} of the first ${number(cut.end)} right`,
        cut.expected_in_all != null && `about ${number(cut.expected_in_all)} right in all`].filter(Boolean).join(", ")}</span>`}
      ${ranked && about?.end === null && html`<span class="faint"> · closest first</span>`}
      ${!ranked && list.total < info.value?.images && !Object.values(query.filters).some(Boolean)
        && html`<span class="faint"> · near-duplicates are folded</span>`}
    </p>
    ${ranked && about?.end != null && html`<fieldset class="levels"><legend>Mark the end at</legend>
      ${LEVELS.map((level) => html`<label key=${level}><input type="radio" name="level" checked=${level === query.until}
        onChange=${() => onRefine({ ...query, until: level })} /><span>${percent(level)}</span></label>`)}
      <span class="faint">right</span></fieldset>`}
    ${about?.uncalibrated && html`<p class="faint why">Numbers without % are similarities. ${about.uncalibrated}</p>`}
  </div>`;
}

function Bar({ cut, end, total }) {
  const level = percent(cut?.until ?? STANDARD);
  const sentence = !end ? `No run of results is expected to be ${level} right.`
    : end >= total ? `All ${number(total)} together are expected to be ${level} right.`
      : `End of what is expected to be ${level} right.`;
  const rest = !end ? "The likeliest come first, but many of them will be wrong."
    : `About ${number(cut.expected_right)} of ${counted(end, "image")} above ${end === 1 ? "is" : "are"} right.${
      end < total ? " Those below are likelier wrong." : ""}`;
  return html`<div class="bar-line" role="note"><div><strong>${sentence}</strong> <span>${rest}</span></div></div>`;
}

function Found({ hit, active, query, ranked, beyond, onOpen, onJudge }) {
  const { image } = hit;
  const top = image.labels.find((label) => label.accepted);
  const about = [ranked && hit.probability !== null && `probability ${percent(hit.probability)}`,
    hit.duplicates.length > 0 && `with ${counted(hit.duplicates.length, "near-duplicate")}`].filter(Boolean).join(", ");
  const thumb = (way, icon, name) => html`<button class=${`thumb ${way}`} tabindex=${active ? 0 : -1} aria-label=${name} title=${name}
    aria-pressed=${query[way].includes(image.id)} onClick=${() => onJudge(image, way)}><${Icon} name=${icon} /></button>`;
  return html`<${Tile} image=${image} active=${active} kind=${beyond ? "beyond" : ""} about=${about} onOpen=${onOpen}>
    <div class="tile-row">
      ${ranked ? html`<${Probability} value=${hit.probability} cosine=${hit.cosine} />`
        : html`<span class="faint tile-label">${top ? top.name : ""}</span>`}
      ${hit.duplicates.length > 0 && html`<span class="badge" title=${`${counted(hit.duplicates.length, "near-duplicate")} folded in`}>
        +${hit.duplicates.length}</span>`}
      <span class="thumbs">${thumb("more", "up", "More like this")}${thumb("less", "down", "Less like this")}</span>
    </div>
  <//>`;
}

/** Entities that the results are labelled with: the commonest, to narrow the query by. */
function Facets({ hits, query, onQuery }) {
  const common = useMemo(() => {
    const counts = new Map();
    for (const { image } of hits) {
      for (const { entity, name, accepted } of image.labels) {
        if (accepted) counts.set(entity, { entity, name, count: (counts.get(entity)?.count ?? 0) + 1 });
      }
    }
    return [...counts.values()].sort((a, b) => b.count - a.count || a.name.localeCompare(b.name)).slice(0, MOST_CHIPS);
  }, [hits.length, hits[0]]);
  if (!common.length || query.filters.entity) return null;
  return html`<ul class="chips facets" aria-label="Entities among these images">
    ${common.map(({ entity, name, count }) => html`<li key=${entity}><span class="chip">
      <button type="button" class="chip-text" title=${`Only images labelled ${name}`}
        onClick=${() => onQuery({ ...query, filters: { ...query.filters, entity } })}>${name} <span class="figure">${count}</span></button>
    </span></li>`)}
  </ul>`;
}

/** What a search found: the count, the end of what is expected to be right, and the grid. */
import { api } from "../lib/api.js";
import { described, percent } from "../lib/format.js";
import { html, useEffect, useMemo, useState } from "../lib/html.js";
import { info, learn } from "../lib/known.js";
import { usePages } from "../lib/pages.js";
import { body, mark, ranks, writeQuery } from "../lib/query.js";
import { href } from "../lib/route.js";
import { number, t } from "../lib/text.js";
import { Chip } from "../parts/chip.js";
import { Grid } from "../parts/grid.js";
import { Icon } from "../parts/icons.js";
import { Empty, Failure, say, Waiting } from "../parts/notice.js";
import { Probability } from "../parts/probability.js";
import { Tile } from "../parts/tile.js";

const ORDERS = { "": "order.none", newest: "order.newest", oldest: "order.oldest" };
const MOST_CHIPS = 10;
const MOST_SENSES = 5;
// The first page of results: chips do not change while one scrolls.
const FIRST = 100;

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
  const ranked = ranks(query);
  // How many are expected to be right together; `null` where the index cannot say.
  const end = ranked && list.about?.end != null ? Math.min(list.about.end, list.total) : null;
  const found = end === null ? t("images", { count: list.total }) : t("results.likely", { shown: end || t("results.none") });
  useEffect(() => {
    if (list.total !== null && !list.replaced) say(`${list.total ? found : t("results.nothing")}.`);
  }, [list.total, list.replaced, key]);

  if (list.error && list.total === null) return html`<${Failure} error=${list.error} retry=${() => list.retry()} />`;
  if (list.total === null) return html`<${Waiting} what=${t("wait.searching")} />`;
  if (list.total === 0) {
    const filtered = Object.values(query.filters).some(Boolean);
    return html`<${Empty} title=${t(ranked || filtered ? "results.nothing" : "results.emptyIndex")}>
      <p>${t(filtered ? "results.filtered" : ranked ? "results.reword" : "results.add")}</p>
      ${filtered && html`<button class="button" onClick=${() => onQuery({ ...query, filters: {} })}>${t("results.unfilter")}</button>`}<//>`;
  }
  const judge = (image, way) => {
    say(`${t(way === "more" ? "results.more" : "results.less")}.`);
    onRefine(mark(query, image.id, way));
  };
  const searched = query.entity || list.about?.entity || query.filters.entity;
  return html`
    <section aria-label=${t("results.title")} class=${list.replaced ? "replaced" : ""}>
      <${Senses} query=${query} about=${list.about} onQuery=${onQuery} />
      <${Head} list=${list} query=${query} end=${end} ranked=${ranked} onQuery=${onQuery} />
      ${list.about?.note && html`<p class="note" role="note">${list.about.note}</p>`}
      ${list.error && html`<${Failure} error=${list.error} retry=${() => list.retry()} />`}
      <${Facets} searched=${searched} hits=${list.seen().filter(({ rank }) => rank <= Math.min(end ?? FIRST, FIRST))} query=${query} onQuery=${onQuery} />
      <${Grid} label=${t("view.images")} list=${list} entity=${searched} end=${end} bar=${html`<${Bar} about=${list.about} end=${end} total=${list.total} />`}
        onKey=${(hit, pressed) => { if (pressed === "+" || pressed === "-") judge(hit.image, pressed === "+" ? "more" : "less"); }}
        tile=${(hit, place, active) => html`<${Found} hit=${hit} active=${active} query=${query} ranked=${ranked}
          beyond=${end > 0 && place >= end} onOpen=${() => onOpen(hit.image)} onJudge=${judge} />`} />
    </section>`;
}

/** What a text that is a name was taken for, and what else it may mean. */
function Senses({ query, about, onQuery }) {
  if (query.words && query.text) {
    return html`<ul class="chips senses" aria-label=${t("senses.title")}><li><${Chip} name=${t("senses.words")}
      onRemove=${() => onQuery({ ...query, words: false })}>${t("senses.words")}<//></li></ul>`;
  }
  if (!query.text || query.entity || !about?.entity) return null;
  const [taken, ...others] = about.meant;
  const sense = (entity) => html`<strong>${entity.name}</strong> <span class="faint">${described(entity)}</span>`;
  return html`<ul class="chips senses" aria-label=${t("senses.title")}>
    <li aria-current="true"><${Chip} kind="entity">${sense(taken)}<//></li>
    ${others.slice(0, MOST_SENSES).map((entity) => html`<li key=${entity.id}><span class="chip"><button type="button" class="chip-text"
      title=${described(entity)} onClick=${() => { learn([entity]); onQuery({ ...query, text: "", entity: entity.id }); }}>${sense(entity)}</button></span></li>`)}
    <li><span class="chip"><button type="button" class="chip-text" onClick=${() => onQuery({ ...query, words: true })}>${t("senses.words")}</button></span></li>
  </ul>`;
}

function Head({ list, query, end, ranked, onQuery }) {
  const { about, total } = list;
  const rest = ranked ? t("results.closest") : total < info.value?.images && !Object.values(query.filters).some(Boolean)
    ? t("results.folded") : "";
  return html`<div class="results-head">
    <p class="count">${end === null
      ? html`${t("results.images", { count: total, shown: html`<strong>${number(total)}</strong>` })}${rest && html`<span class="faint"> · ${rest}</span>`}`
      : html`${t("results.likely", { shown: html`<strong>${end ? number(end) : t("results.none")}</strong>` })}${
        end < total && html`<span class="faint"> · ${t(end ? "results.moreBelow" : "results.below", { count: total - end })}</span>`}`}</p>
    ${ranked && info.value?.map && html`<a href=${href(["map"], writeQuery(query))}>${t("results.onMap")}</a>`}
    ${!ranked && info.value?.columns.includes("date") && html`<label class="field inline"><span>${t("order")}</span>
      <select value=${query.order} onChange=${(event) => onQuery({ ...query, order: event.currentTarget.value })}>
        ${Object.entries(ORDERS).map(([value, said]) => html`<option value=${value} selected=${value === query.order}>${t(said)}</option>`)}
      </select></label>`}
    ${about?.uncalibrated && html`<details class="faint why"><summary>${t(end === null ? "results.whyNone" : "results.whySome")}</summary>
      ${about.uncalibrated}</details>`}
  </div>`;
}

function Bar({ about, end, total }) {
  const sentence = !end ? t("bar.none", { share: percent(about.until) })
    : end >= total ? t("bar.all", { count: total }) : t("bar.end");
  const rest = !end ? t("bar.first")
    : `${t("bar.right", { right: about.expected_right, count: end })}${end < total ? ` ${t(about.uncalibrated ? "bar.belowOr" : "bar.below")}` : ""}`;
  return html`<div class="bar-line" role="note"><div><strong>${sentence}</strong> <span>${rest}</span></div></div>`;
}

function Found({ hit, active, query, ranked, beyond, onOpen, onJudge }) {
  const { image } = hit;
  const top = image.labels.find((label) => label.accepted);
  const about = [ranked && hit.probability !== null && t("tile.probability", { share: percent(hit.probability) }),
    hit.duplicates.length > 0 && t("tile.duplicates", { count: hit.duplicates.length })].filter(Boolean).join(", ");
  const thumb = (way, icon, name) => html`<button class=${`thumb ${way}`} tabindex=${active ? 0 : -1} aria-label=${name} title=${name}
    aria-pressed=${query[way].includes(image.id)} onClick=${() => onJudge(image, way)}><${Icon} name=${icon} /></button>`;
  return html`<${Tile} image=${image} active=${active} kind=${beyond ? "beyond" : ""} about=${about} onOpen=${onOpen}>
    <div class="tile-row">
      ${ranked ? html`<${Probability} value=${hit.probability} />`
        : html`<span class="faint tile-label">${top ? top.name : ""}</span>`}
      ${hit.duplicates.length > 0 && html`<a class="badge" tabindex=${active ? 0 : -1} title=${t("tile.folded", { count: hit.duplicates.length })}
        aria-label=${t("tile.folded", { count: hit.duplicates.length })} href=${href(["images"], { ids: [image.id, ...hit.duplicates].join(",") })}>
        +${hit.duplicates.length}</a>`}
      <span class="thumbs">${thumb("more", "up", t("results.more"))}${thumb("less", "down", t("results.less"))}</span>
    </div>
  <//>`;
}

/** Entities that the first results are labelled with: the commonest, to narrow the query by. */
function Facets({ hits, searched, query, onQuery }) {
  const common = useMemo(() => {
    const counts = new Map();
    for (const { image } of hits) {
      for (const { entity, name, accepted } of image.labels) {
        if (accepted && entity !== searched) counts.set(entity, { entity, name, count: (counts.get(entity)?.count ?? 0) + 1 });
      }
    }
    return [...counts.values()].sort((a, b) => b.count - a.count || a.name.localeCompare(b.name)).slice(0, MOST_CHIPS);
  }, [hits.length, hits[0], searched]);
  if (!common.length || query.filters.entity) return null;
  return html`<ul class="chips facets" aria-label=${t("facets.title")}>
    ${common.map(({ entity, name }) => html`<li key=${entity}><span class="chip">
      <button type="button" class="chip-text" title=${t("facets.only", { name })}
        onClick=${() => onQuery({ ...query, filters: { ...query.filters, entity } })}>${name}</button>
    </span></li>`)}
  </ul>`;
}

/** One entity: what is known of it, its images from sure to doubtful, and what it may be mistaken for. */
import { api } from "../lib/api.js";
import { described, percent, plainType } from "../lib/format.js";
import { html, useEffect, useState } from "../lib/html.js";
import { learn } from "../lib/known.js";
import { changes } from "./review/verdicts.js";
import { usePages } from "../lib/pages.js";
import { go, href, leave, route } from "../lib/route.js";
import { number, t } from "../lib/text.js";
import { Chip } from "../parts/chip.js";
import { Choice } from "../parts/choice.js";
import { Detail } from "../parts/detail.js";
import { Grid } from "../parts/grid.js";
import { Icon } from "../parts/icons.js";
import { Empty, Failure, Waiting } from "../parts/notice.js";
import { Probability } from "../parts/probability.js";
import { Tile } from "../parts/tile.js";
import { wordOf } from "../parts/verdict.js";
import { NOTHING, writeQuery } from "../lib/query.js";

const ALIASES = 12;
const KINDS = [["labels", "entity.kindLabels"], ["candidates", "entity.kindBelow"], ["all", "entity.kindAll"]];
const ORDERS = [["sure", "entity.sure"], ["doubt", "entity.doubt"]];

export function Entity() {
  const { rest: [id = ""], params } = route.value;
  const [entity, setEntity] = useState(null);
  const [similar, setSimilar] = useState(null);
  const [error, setError] = useState(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let current = true;
    api.entity(id).then((found) => {
      if (!current) return;
      learn([found]);
      setEntity(found);
    }, (failed) => current && setError(failed));
    api.similar(id).then((found) => current && setSimilar(found), () => {});
    return () => { current = false; };
  }, [id, turn]);
  if (error) return html`<h1 class="unseen">${t("view.entity")}</h1><${Failure} error=${error} retry=${() => { setError(null); setTurn(turn + 1); }} />
    <p class="center"><a href="#/entities">${t("entity.all")}</a></p>`;
  if (!entity) return html`<${Waiting} />`;
  return html`
    <article class="entity">
      <header class="entity-head">
        <div>
          <h1>${entity.name}</h1>
          ${entity.description && html`<p class="lead">${entity.description}</p>`}
          <ul class="chips" aria-label=${t("types")}>
            ${entity.types.filter(plainType).map((type) => html`<li key=${type}><${Chip} href=${href(["entities"], { type })}>${plainType(type)}<//></li>`)}
            <li><span class="faint">${entity.id}</span></li>
          </ul>
          <${Aliases} aliases=${entity.aliases.filter((alias) => alias.toLowerCase() !== entity.name.toLowerCase())} />
        </div>
        <div class="entity-side">
          <dl class="counts">
            <div><dt>${t("entity.named")}</dt><dd>${number(entity.named)} <span>${t("entity.texts", { count: entity.named })}</span></dd></div>
            <div><dt>${t("entity.shown")}</dt><dd>${number(entity.images)} <span>${t("entity.images", { count: entity.images })}</span></dd></div>
          </dl>
          <div class="actions">
            <a class="button main" href=${href(["search"], writeQuery({ ...NOTHING, entity: id }))}><${Icon} name="search" />${t("entity.search")}</a>
            <a class="button" href=${href(["review", "grid", id])}><${Icon} name="check" />${t("entity.review")}</a>
          </div>
        </div>
      </header>
      <${Images} entity=${entity} params=${params} />
      ${similar?.length > 0 && html`<section aria-labelledby="look-alikes"><h2 id="look-alikes">${t("entity.alike")}</h2>
        <ul class="entity-list">${similar.map((other) => html`<li key=${other.id}>
          <a class="entity-card" href=${href(["entity", other.id])}><strong>${other.name}</strong>
            <span class="faint">${described(other)}</span>
            <span class="figure">${t("images", { count: other.images })}</span></a></li>`)}</ul></section>`}
    </article>`;
}

function Aliases({ aliases }) {
  const [all, setAll] = useState(false);
  if (!aliases.length) return null;
  const shown = all ? aliases : aliases.slice(0, ALIASES);
  return html`<p class="aliases"><span class="faint">${t("entity.also")}</span> ${shown.join(" · ")}
    ${aliases.length > shown.length && html` <button class="link" onClick=${() => setAll(true)}>${t("entity.more", { count: aliases.length - shown.length })}</button>`}</p>`;
}

function Images({ entity, params }) {
  const kind = params.get("show") ?? "labels";
  const order = params.get("order") === "doubt" ? "doubt" : "sure";
  const opened = Number(params.get("image")) || 0;
  const [known, setKnown] = useState(null);
  const accepted = { labels: true, candidates: false }[kind];
  const total = { labels: entity.images, candidates: entity.named - entity.images }[kind] ?? entity.named;
  const list = usePages(async (offset, limit, signal) => {
    const items = await api.entityImages(entity.id, { order, accepted, limit, offset }, signal);
    return { items, total };
  }, `${entity.id} ${kind} ${order} ${total} ${changes.value}`);
  const set = (values, replace = true) => {
    const next = new URLSearchParams(params);
    Object.entries(values).forEach(([name, value]) => value ? next.set(name, value) : next.delete(name));
    go(href(["entity", entity.id], next), replace);
  };
  const close = () => {
    const next = new URLSearchParams(params);
    next.delete("image");
    leave(href(["entity", entity.id], next));
  };
  const choice = (legend, name, options, value, first) => html`<${Choice} legend=${legend} name=${name} value=${value}
    options=${options.map(([key, label]) => [key, t(label)])} onChange=${(key) => set({ [name]: key === first ? "" : key })} />`;
  return html`<section aria-labelledby="images">
    <div class="results-head"><h2 id="images">${t("view.images")}</h2>
      ${choice(t("entity.which"), "show", KINDS, kind, "labels")}${choice(t("order"), "order", ORDERS, order, "sure")}</div>
    ${list.error ? html`<${Failure} error=${list.error} retry=${() => list.retry()} />`
      : list.total === null ? html`<${Waiting} />`
        : !list.total ? html`<${Empty} title=${t("entity.noImage")}>
          <p>${t(kind === "labels" ? "entity.unlabelled" : "entity.noneOfKind")}</p><//>`
          : html`<${Grid} label=${t("entity.imagesOf", { name: entity.name })} list=${list} entity=${entity.id}
            tile=${(item, place, active) => html`<${Tile} image=${item.image} active=${active} kind=${item.accepted ? "" : "beyond"}
              about=${[t("tile.probability", { share: percent(item.probability) }), item.verdict && t("tile.judged", { said: wordOf(item.verdict) })].filter(Boolean).join(", ")}
              onOpen=${() => { setKnown(item.image); set({ image: String(item.image.id) }, false); }}>
              <div class="tile-row"><${Probability} value=${item.probability} />
                ${item.verdict && html`<span class=${`said ${item.verdict}`}>${wordOf(item.verdict)}</span>`}</div><//>`} />`}
    ${opened > 0 && html`<${Detail} id=${opened} known=${known?.id === opened ? known : null}
      onClose=${close} onStep=${(image) => { setKnown(image); set({ image: String(image.id) }); }}
      onSearch=${(example) => go(href(["search"], writeQuery({ ...NOTHING, examples: [example] })))} />`}
  </section>`;
}

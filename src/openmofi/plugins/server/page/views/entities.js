/** Entities of the index: found by name or type, those with most images first. */
import { api } from "../lib/api.js";
import { described } from "../lib/format.js";
import { html, useEffect, useState } from "../lib/html.js";
import { learn } from "../lib/known.js";
import { go, href, route } from "../lib/route.js";
import { t } from "../lib/text.js";
import { Empty, Failure, say, Waiting } from "../parts/notice.js";

const PAGE = 60;
const PAUSE_MS = 150;

/** @param {{path: string[], target: (entity: any) => string, tail?: (entity: any) => any}} props */
export function EntityList({ path, target, tail }) {
  const { params } = route.value;
  const prefix = params.get("prefix") ?? "";
  const type = params.get("type") ?? "";
  const [entities, setEntities] = useState(null);
  const [more, setMore] = useState(false);
  const [error, setError] = useState(null);
  const [turn, setTurn] = useState(0);
  const set = (values) => {
    const next = Object.fromEntries(Object.entries({ prefix, type, ...values }).filter(([, value]) => value));
    go(href(path, next), true);
  };
  useEffect(() => {
    const control = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const rows = await api.entities({ prefix, type, limit: PAGE }, control.signal);
        learn(rows);
        setEntities(rows);
        setMore(rows.length === PAGE);
        setError(null);
        if (prefix || type) say(t(rows.length === PAGE ? "entities.least" : "entities", { count: rows.length }));
      } catch (failed) {
        if (failed.name !== "AbortError") setError(failed);
      }
    }, entities ? PAUSE_MS : 0);
    return () => { clearTimeout(timer); control.abort(); };
  }, [prefix, type, turn]);
  const readMore = async () => {
    try {
      const rows = await api.entities({ prefix, type, limit: PAGE, offset: entities.length });
      learn(rows);
      setEntities([...entities, ...rows]);
      setMore(rows.length === PAGE);
    } catch (failed) {
      setError(failed);
    }
  };
  return html`
    <form class="entity-filters" role="search" onSubmit=${(event) => event.preventDefault()}>
      <label class="field"><span>${t("entities.prefix")}</span><input type="text" value=${prefix} autocomplete="off"
        onInput=${(event) => set({ prefix: event.currentTarget.value })} /></label>
      <label class="field"><span>${t("type")}</span><input type="text" value=${type} autocomplete="off"
        onInput=${(event) => set({ type: event.currentTarget.value })} /></label>
    </form>
    ${error && html`<${Failure} error=${error} retry=${() => setTurn(turn + 1)} />`}
    ${!entities && !error && html`<${Waiting} />`}
    ${entities?.length === 0 && (prefix || type ? html`<${Empty} title=${t("entities.unknown")}>
        <p>${t("entities.unknownHint")}</p><//>`
      : html`<${Empty} title=${t("entities.none")}>
        <p>${t("entities.noneHint")}</p><//>`)}
    <ul class="entity-list">${entities?.map((entity) => html`<li key=${entity.id}>
      <a class="entity-card" href=${target(entity)}>
        <strong>${entity.name}</strong>
        <span class="faint">${described(entity)}</span>
        <span class="figure">${tail ? tail(entity) : t("images", { count: entity.images })}</span>
      </a></li>`)}</ul>
    ${more && html`<p class="center"><button class="button" onClick=${readMore}>${t("more")}</button></p>`}`;
}

export function Entities() {
  return html`<h1>${t("view.entities")}</h1>
    <${EntityList} path=${["entities"]} target=${(entity) => href(["entity", entity.id])} />`;
}

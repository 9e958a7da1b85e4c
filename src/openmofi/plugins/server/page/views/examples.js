/** What a query is made of, as chips that can be turned and taken away. */
import { thumbnail } from "../lib/api.js";
import { html, useState } from "../lib/html.js";
import { t } from "../lib/text.js";
import { preview } from "../lib/uploads.js";
import { Chip } from "../parts/chip.js";
import { Icon } from "../parts/icons.js";
import { Later } from "../parts/later.js";

/**
 * @param {object} props
 * @param {import("../lib/query.js").Query} props.query
 * @param {Record<string, string>} props.names of entities
 * @param {(query: import("../lib/query.js").Query) => void} props.onQuery
 */
export function QueryChips({ query, names, onQuery }) {
  const without = (place) => onQuery({ ...query, examples: query.examples.filter((_, at) => at !== place) });
  const change = (place, values) => onQuery({ ...query,
    examples: query.examples.map((example, at) => at === place ? { ...example, ...values } : example) });
  const filter = query.filters.entity;
  const drop = (name) => onQuery({ ...query, filters: { ...query.filters, [name]: "" } });
  const any = query.entity || query.examples.length || query.more.length || query.less.length || filter;
  if (!any) return null;
  return html`<ul class="chips query-chips" aria-label=${t("query.title")}>
    ${query.entity && html`<li><${Chip} kind="entity" name=${names[query.entity] ?? query.entity}
      onRemove=${() => onQuery({ ...query, entity: "" })}>${names[query.entity] ?? query.entity}<//></li>`}
    ${query.examples.map((example, place) => html`<li key=${`${example.upload ?? example.image}-${place}`}>
      <${ExampleChip} example=${example} onRemove=${() => without(place)} onChange=${(values) => change(place, values)} /></li>`)}
    ${query.more.length > 0 && html`<li><${Chip} name=${t("query.right")} kind="right"
      onRemove=${() => onQuery({ ...query, more: [] })}>${t("query.more", { count: query.more.length })}<//></li>`}
    ${query.less.length > 0 && html`<li><${Chip} name=${t("query.wrong")} kind="wrong"
      onRemove=${() => onQuery({ ...query, less: [] })}>${t("query.less", { count: query.less.length })}<//></li>`}
    ${filter && html`<li><${Chip} name=${t("query.filter")} onRemove=${() => drop("entity")}>${t("query.only", { name: names[filter] ?? filter })}<//></li>`}
  </ul>`;
}

function ExampleChip({ example, onRemove, onChange }) {
  const [open, setOpen] = useState(false);
  const src = example.upload ? preview(example.upload) : thumbnail({ id: example.image });
  const name = example.upload ? t("example.own") : t("example.image", { id: String(example.image) });
  const less = example.weight < 0;
  return html`<span class=${`chip example ${less ? "wrong" : ""}`}>
    <button type="button" class="example-image" aria-label=${t("example.open", { name })} onClick=${() => setOpen(true)}>
      ${src ? html`<img src=${src} alt="" />` : html`<${Icon} name="image" />`}
      ${example.region && html`<span class="region-mark" style=${{ left: `${example.region[0] * 100}%`,
        top: `${example.region[1] * 100}%`, width: `${(example.region[2] - example.region[0]) * 100}%`,
        height: `${(example.region[3] - example.region[1]) * 100}%` }} />`}
    </button>
    <button type="button" class="sign" aria-pressed=${less} aria-label=${t("example.lessLike", { name })}
      title=${t(less ? "example.less" : "example.more")} onClick=${() => onChange({ weight: -example.weight })}>${less ? "−" : "+"}</button>
    <button type="button" class="chip-remove" aria-label=${t("remove", { name })} onClick=${onRemove}><${Icon} name="close" /></button>
    ${open && html`<${Later} of="ExampleDialog" example=${example} src=${src} name=${name} onClose=${() => setOpen(false)}
      onRegion=${(region) => { setOpen(false); onChange({ region }); }} />`}
  </span>`;
}

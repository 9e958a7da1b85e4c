/** Filters of a query, with how many images of what is shown are left by each value. */
import { api } from "../lib/api.js";
import { plainType } from "../lib/format.js";
import { html, useEffect, useState } from "../lib/html.js";
import { learn, names } from "../lib/known.js";
import { body } from "../lib/query.js";
import { formatted, number, t } from "../lib/text.js";
import { changes } from "../views/review/verdicts.js";
import { TextField } from "./field.js";
import { Icon } from "./icons.js";
import { Failure, Waiting } from "./notice.js";
import { wordOf } from "./verdict.js";

const MOST_COLUMNS = 6;
const OWN = new Set(["date", "licence", "license"]);
const MONTH = { month: "long", year: "numeric", timeZone: "UTC" };

/** The name of a value. */
const NAMES = {
  type: ({ value, name }) => name === value ? plainType(value) : name,
  verdict: ({ value }) => wordOf(value),
  folder: ({ value }) => value.split("/").pop(),
  date: ({ value }) => value.length > 4 ? formatted(new Date(`${value}-01`), MONTH) : value,
};

/** The first and the last day of a year or a month. @param {string} value such as 2024 or 2024-05 */
function days(value) {
  const [year, month] = value.split("-").map(Number);
  return [new Date(Date.UTC(year, month ? month - 1 : 0)), new Date(Date.UTC(year, month || 12, 0))]
    .map((day) => day.toISOString().slice(0, 10));
}

/**
 * @param {object} props
 * @param {import("../lib/query.js").Query} props.query
 * @param {string[]} props.columns of the index
 * @param {(filters: Record<string, string>) => void} props.onFilters
 */
export function Rail({ query, columns, onFilters }) {
  const [counts, setCounts] = useState(null);
  const [error, setError] = useState(null);
  const { filters } = query;
  const asked = { ...body(query), order: "" };
  useEffect(() => {
    const control = new AbortController();
    setError(null);
    api.facets(asked, control.signal).then((found) => {
      learn((found.values.entity ?? []).map(({ value, name }) => ({ id: value, name })));
      setCounts(found);
    }, (failed) => { if (failed.name !== "AbortError") setError(failed); });
    return () => control.abort();
  }, [JSON.stringify(asked), changes.value]);
  const set = (values) => onFilters({ ...filters, ...values });
  const field = (name, label, more = {}) => html`<label class="field"><span>${label}</span>
    <${TextField} value=${filters[name] ?? ""} ...${more} onValue=${(value) => set({ [name]: value })} /></label>`;
  const values = (name) => (counts?.values[name] ?? []).map((each) => ({ ...each, name: (NAMES[name] ?? (() => each.name))(each) }))
    .filter((each) => each.name);
  const listed = (name, choose = (value) => ({ [name]: value })) => html`<ul class="facet-values">
    ${values(name).map(({ value, name: said, images }) => html`<li key=${value}>
      <button type="button" class="facet-value" title=${value} onClick=${() => set(choose(value))}><span>${said}</span>
        <span class="figure">${number(images)}<span class="unseen"> ${t("rail.images", { count: images })}</span></span></button></li>`)}</ul>`;
  // What is set by a click alone is shown, and taken away by another one.
  const clicked = (name, label, said) => (filters[name] || values(name).length > 0) && html`<section><h2>${label}</h2>
    ${filters[name] ? html`<button type="button" class="facet-value" aria-pressed="true" onClick=${() => set({ [name]: "" })}>
        <span>${said}</span><${Icon} name="close" /></button>` : listed(name)}</section>`;
  const least = Number(filters.min_probability ?? 0);
  const enough = new Map(values("min_probability").map(({ value, images }) => [Number(value), images]));
  return html`<div id="filters" class="rail" role="group" aria-label=${t("filters")}>
    ${error && html`<${Failure} error=${error} />`}
    ${counts ? html`<p class="faint">${t(counts.ranked ? "rail.best" : "rail.all", { count: counts.images })}</p>` : !error && html`<${Waiting} what=${t("wait.counting")} />`}
    ${clicked("type", t("type"), plainType(filters.type ?? "") || filters.type)}
    ${clicked("entity", t("view.entity"), names.value[filters.entity] ?? filters.entity)}
    <section><label class="field"><span>${t("rail.least")}</span>
      <select value=${String(least)} onChange=${(event) => set({ min_probability: event.currentTarget.value })}>
        ${[0, 0.5, 0.8, 0.9, 0.95].map((value) => html`<option value=${String(value)} selected=${value === least}>
          ${value ? `${Math.round(value * 100)} %` : t("rail.any")}${enough.has(value) ? ` · ${number(enough.get(value))}` : ""}</option>`)}
      </select></label></section>
    ${clicked("verdict", t("rail.verdict"), wordOf(filters.verdict))}
    <section>${field("folder", t("rail.folder"), { placeholder: "/photos/2024" })}${listed("folder")}</section>
    ${columns.includes("date") && html`<section>${field("since", t("rail.since"), { type: "date" })}${field("until", t("rail.until"), { type: "date" })}
      ${listed("date", (value) => { const [since, until] = days(value); return { since, until }; })}</section>`}
    ${columns.some((name) => name === "licence" || name === "license") && html`<section>
      ${field("licence", t("rail.licence"), { placeholder: "cc-by*" })}${listed("licence")}</section>`}
    ${columns.filter((name) => !OWN.has(name)).slice(0, MOST_COLUMNS).map((name) => html`<section key=${name}>
      ${field(`column.${name}`, name)}${listed(`column.${name}`)}</section>`)}
  </div>`;
}

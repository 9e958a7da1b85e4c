/** Filters of a query: which images may be results. */
import { html, useState } from "../lib/html.js";
import { Icon } from "./icons.js";

const MOST_COLUMNS = 6;
const OWN = new Set(["date", "licence", "license"]);

/**
 * The button, and the fields that it opens.
 * @param {object} props
 * @param {Record<string, string>} props.filters
 * @param {string[]} props.columns of the index
 * @param {(filters: Record<string, string>) => void} props.onFilters
 */
export function Filters({ filters, columns, onFilters }) {
  const [open, setOpen] = useState(false);
  const count = Object.values(filters).filter(Boolean).length;
  const set = (name, value) => onFilters({ ...filters, [name]: value });
  const field = (name, label, more = {}) => html`<label class="field"><span>${label}</span>
    <input type="text" value=${filters[name] ?? ""} ...${more}
      onChange=${(event) => set(name, event.currentTarget.value.trim())} /></label>`;
  const least = Number(filters.min_probability ?? 0);
  return html`
    <button type="button" class="button" aria-expanded=${open} aria-controls="filters" onClick=${() => setOpen(!open)}>
      <${Icon} name="filter" />Filters${count > 0 && html`<span class="badge">${count}</span>`}</button>
    <div id="filters" class="filter-fields" role="group" aria-label="Filters" hidden=${!open}>
      ${field("type", "Type of entity", { placeholder: "bird" })}
      <label class="field"><span>Label probability at least</span>
        <select value=${String(least)} onChange=${(event) => set("min_probability", event.currentTarget.value)}>
          ${[0, 0.5, 0.8, 0.9, 0.95].map((value) => html`<option value=${String(value)} selected=${value === least}>
            ${value ? `${Math.round(value * 100)} %` : "any"}</option>`)}
        </select></label>
      ${field("folder", "Folder", { placeholder: "/photos/2024" })}
      ${columns.includes("date") && field("since", "From day", { type: "date" })}
      ${columns.includes("date") && field("until", "To day", { type: "date" })}
      ${columns.some((name) => name === "licence" || name === "license") && field("licence", "Licence", { placeholder: "cc-by*" })}
      ${columns.filter((name) => !OWN.has(name)).slice(0, MOST_COLUMNS).map((name) => field(`column.${name}`, name))}
    </div>`;
}

/** One of a few, as radio buttons in a row. */
import { html } from "../lib/html.js";

/**
 * @param {{legend: string, name: string, options: [string, string][], value: string, onChange: (value: string) => void, shown?: boolean}} props
 *   `options` are values with their labels, `shown` whether the legend is seen
 */
export function Choice({ legend, name, options, value, onChange, shown = false }) {
  return html`<fieldset class="levels"><legend class=${shown ? "" : "unseen"}>${legend}</legend>
    ${options.map(([each, label]) => html`<label key=${each}><input type="radio" name=${name} checked=${each === value}
      onChange=${() => onChange(each)} /><span>${label}</span></label>`)}</fieldset>`;
}

/** A probability as a bar with its number. */
import { percent } from "../lib/format.js";
import { html } from "../lib/html.js";

/** @param {{value: number | null, cosine?: number | null, what?: string}} props */
export function Probability({ value, cosine = null, what = "probability" }) {
  if (value === null || value === undefined) {
    return cosine === null ? html`<span class="probability faint">text match</span>`
      : html`<span class="probability faint" title="Similarity to the query; no probability is known">
          <span class="unseen">similarity </span>${cosine.toFixed(2)}</span>`;
  }
  const level = value >= 0.8 ? "high" : value >= 0.5 ? "middle" : "low";
  return html`<span class=${`probability ${level}`} title=${`${what}: ${percent(value)}`}>
    <span class="unseen">${what} </span>
    <span class="bar" aria-hidden="true"><span style=${{ width: `${Math.max(3, value * 100)}%` }} /></span>
    <span class="figure">${percent(value)}</span>
  </span>`;
}

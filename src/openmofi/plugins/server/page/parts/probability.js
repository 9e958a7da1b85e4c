/** A probability as a bar with its number. */
import { percent } from "../lib/format.js";
import { html } from "../lib/html.js";
import { t } from "../lib/text.js";

/** @param {{value: number | null}} props nothing is shown where there is none */
export function Probability({ value }) {
  if (value === null || value === undefined) return null;
  const level = value >= 0.8 ? "high" : value >= 0.5 ? "middle" : "low";
  return html`<span class=${`probability ${level}`} title=${`${t("probability")}: ${percent(value)}`}>
    <span class="unseen">${t("probability")} </span>
    <span class="bar" aria-hidden="true"><span style=${{ width: `${Math.max(3, value * 100)}%` }} /></span>
    <span class="figure">${percent(value)}</span>
  </span>`;
}

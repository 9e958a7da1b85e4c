/** How precise the labels are by what was judged so far. */
import { api } from "../../lib/api.js";
import { percent } from "../../lib/format.js";
import { html, useEffect, useState } from "../../lib/html.js";
import { t } from "../../lib/text.js";
import { changes } from "./verdicts.js";

/** @param {{entity: string}} props of its labels alone; of all where it is empty */
export function Precision({ entity }) {
  const [found, setFound] = useState(null);
  useEffect(() => {
    let current = true;
    // Without it the review goes on: it is a figure beside the work.
    api.precision(entity).then((answer) => current && setFound(answer), () => {});
    return () => { current = false; };
  }, [changes.value, entity]);
  if (!found?.judged && !found?.agents) return null;
  const { precision, lower, upper, judged, labels, agents } = found;
  const without = agents > 0 && html` <span class="faint">${t("precision.agents", { count: agents })}</span>`;
  if (!judged) return html`<p class="precision" role="note">${without}</p>`;
  return html`<p class="precision" role="note">
    <span class="interval" aria-hidden="true"><span class="range" style=${{ left: `${lower * 100}%`, width: `${(upper - lower) * 100}%` }} />
      <span class="point" style=${{ left: `${precision * 100}%` }} /></span>
    <span>${t("precision.sentence", { precision: html`<strong>${percent(precision)}</strong>`, lower: percent(lower), upper: percent(upper),
      verdicts: t("precision.verdicts", { count: judged }), labels: t("labels", { count: labels }) })}${without}</span></p>`;
}

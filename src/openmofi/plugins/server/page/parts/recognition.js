/** What an image may show: likely entities with probability, evidence and what it might be instead. */
import { api } from "../lib/api.js";
import { percent } from "../lib/format.js";
import { html, useEffect, useState } from "../lib/html.js";
import { href } from "../lib/route.js";
import { t } from "../lib/text.js";
import { Failure, Waiting } from "./notice.js";
import { Probability } from "./probability.js";
import { Thumbnail } from "./tile.js";
import { VerdictButtons } from "./verdict.js";

/** Of what is less likely, only a number is shown at first. */
export const LIKELY = 0.01;

/**
 * @param {{image?: number, upload?: string, region: number[] | null, verdicts?: import("./verdict.js").Verdicts}} props
 *   with `verdicts` of the image, each entity can be judged
 */
export function Recognition({ image, upload, region, verdicts }) {
  const [answer, setAnswer] = useState(null);
  const [error, setError] = useState(null);
  const [turn, setTurn] = useState(0);
  const [all, setAll] = useState(false);
  useEffect(() => {
    let current = true;
    setAnswer(null);
    setError(null);
    (image === undefined ? api.recogniseUpload(upload, region) : api.recogniseImage(image, region))
      .then((found) => current && setAnswer(found), (failed) => current && setError(failed));
    return () => { current = false; };
  }, [image, upload, region?.join(), turn]);
  if (error) return html`<${Failure} error=${error} retry=${() => setTurn(turn + 1)} />`;
  if (!answer) return html`<${Waiting} what=${t("wait.recognising")} />`;
  const likely = answer.entities.filter(({ probability }, place) => all || !place || (probability ?? 1) >= LIKELY);
  const fewer = answer.entities.length - likely.length;
  return html`<section class="recognition" aria-label=${t("recognition.title")}>
    ${answer.note && html`<p class="note">${answer.note}</p>`}
    ${answer.uncalibrated && html`<p class="faint why">${answer.uncalibrated}</p>`}
    <ol>${likely.map((found) => html`<li key=${found.entity.id}>
      <div class="recognised">
        <a href=${href(["entity", found.entity.id])}>${found.entity.name}</a>
        <${Probability} value=${found.probability} />
        ${verdicts && html`<${VerdictButtons} entity=${found.entity} verdicts=${verdicts} />`}
      </div>
      ${found.entity.description && html`<p class="faint">${found.entity.description}</p>`}
      ${found.evidence.length > 0 && html`<div class="evidence" role="group" aria-label=${t("recognition.near", { name: found.entity.name })}>
        ${found.evidence.map(([near]) => html`<span key=${near.id} class="small-image">
          <${Thumbnail} image=${near} /></span>`)}</div>`}
      ${found.siblings.length > 0 && html`<p class="faint">${t("recognition.or", { names: found.siblings.map((other, place) => html`${place ? ", " : ""}
        <a href=${href(["entity", other.id])} title=${other.description}>${other.name}</a>`) })}</p>`}
    </li>`)}</ol>
    ${fewer > 0 && html`<p><button class="link" onClick=${() => setAll(true)}>${t("recognition.fewer", { count: fewer, share: percent(LIKELY) })}</button></p>`}
    ${answer.unnamed !== null && html`<div class="recognised none">
      <span>${t("recognition.none")}</span>
      <${Probability} value=${answer.unnamed} />
    </div>`}
  </section>`;
}

/** The labels of an image: why each was believed, and what people say of it. */
import { percent } from "../lib/format.js";
import { html, useEffect, useState } from "../lib/html.js";
import { learn, names, wantName } from "../lib/known.js";
import { href } from "../lib/route.js";
import { t } from "../lib/text.js";
import { EntityBox } from "./entitybox.js";
import { Icon } from "./icons.js";
import { Failure } from "./notice.js";
import { Probability } from "./probability.js";
import { VerdictButtons } from "./verdict.js";

const FEW = 3;
const REASONS = { below_threshold: "why.threshold", sibling_preferred: "why.sibling", beyond_top_k: "why.beyond" };

/**
 * Labels and what people added, then candidates; each with its candidate in the reading where there is one.
 * @param {any} image an ImageRecord
 * @param {any} reading a TextReading, or `null`
 * @param {Map<string, any>} said
 */
function rowsOf(image, reading, said) {
  const rows = new Map(image.labels.map((label) => [label.entity, { ...label, candidate: null }]));
  for (const candidate of reading?.candidates ?? []) {
    const row = rows.get(candidate.entity) ?? { ...candidate, candidate: null };
    rows.set(candidate.entity, { ...row, candidate: row.candidate ?? candidate });
  }
  for (const [entity, verdict] of said) {
    if (!rows.has(entity)) rows.set(entity, { entity, name: names.value[entity] ?? entity, probability: null, by: verdict.who });
  }
  const first = (row) => row.accepted || row.probability === null ? 1 : 0;
  return [...rows.values()].sort((a, b) => first(b) - first(a) || (b.probability ?? 0) - (a.probability ?? 0));
}

/** Why a candidate was believed or not, in words. @param {any} candidate @param {any} reading a TextReading */
function why(candidate, reading) {
  const { prior, link_score: link, image_score: score, reason } = candidate;
  const mention = reading.mentions[candidate.mention];
  const shares = [prior !== null && t("why.prior", { share: percent(prior) }),
    link !== null && link >= 0 && link <= 1 && t("why.link", { share: percent(link) })].filter(Boolean).join(", ");
  const scored = reading.candidates.filter((each) => each.image_score !== null);
  const same = scored.filter((each) => each.mention === candidate.mention);
  const rivals = same.length > 1 ? same : scored;
  const best = rivals.reduce((a, b) => (b.image_score > a.image_score ? b : a), candidate);
  const seen = score !== null && rivals.length > 1 && (best.entity === candidate.entity
    ? t("why.closest", { count: rivals.length }) : t("why.closer", { name: best.name }));
  return [mention && `${t("why.quoted", { text: mention.surface })}${mention.kind ? ` (${mention.kind})` : ""} ${shares}`.trim(), seen, Object.hasOwn(REASONS, reason) && t(REASONS[reason])]
    .filter(Boolean).join("; ");
}

/** @param {{image: any, reading: any, verdicts: import("./verdict.js").Verdicts}} props */
export function Labels({ image, reading, verdicts }) {
  const [all, setAll] = useState(false);
  const [adding, setAdding] = useState(false);
  const rows = rowsOf(image, reading, verdicts.said);
  const shown = rows.filter((row, place) => all || place < FEW || row.accepted || verdicts.said.has(row.entity));
  useEffect(() => { verdicts.said.forEach((_, entity) => { if (!rows.some((row) => row.entity === entity && row.candidate)) wantName(entity); }); }, [verdicts.said]);
  const add = (entity) => {
    setAdding(false);
    learn([entity]);
    verdicts.give(entity, "y", false);
  };
  return html`<section aria-label=${t("labels.title")}><h3>${t("labels.title")}</h3>
    ${verdicts.error && html`<${Failure} error=${verdicts.error} />`}
    <ul class="label-list">${shown.map((row) => html`<li key=${row.entity} class=${row.accepted || row.probability === null ? "" : "candidate"}>
      <div class="recognised"><a href=${href(["entity", row.entity])} title=${row.description}>${row.name}</a>
        ${row.probability === null ? html`<span class="faint">${row.by ? t("labels.saidBy", { name: row.by }) : t("labels.saidByPerson")}</span>` : html`<${Probability} value=${row.probability} />`}
        <${VerdictButtons} entity=${{ id: row.entity, name: row.name }} verdicts=${verdicts} /></div>
      ${row.candidate && html`<p class="faint">${why(row.candidate, reading)}</p>`}</li>`)}</ul>
    ${!rows.length && html`<p class="faint">${t("labels.none")}</p>`}
    <p class="actions">
      ${rows.length > shown.length && html`<button class="link" onClick=${() => setAll(true)}>${t("labels.more", { count: rows.length - shown.length })}</button>`}
      ${!adding && html`<button class="button small" onClick=${() => setAdding(true)}><${Icon} name="plus" />${t("labels.add")}</button>`}</p>
    ${adding && html`<${EntityBox} label=${t("labels.also")} placeholder=${t("entityName")} focused onEntity=${add} />`}
  </section>`;
}

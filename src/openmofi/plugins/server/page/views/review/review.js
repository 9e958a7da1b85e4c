/** Review: people judge labels, in a grid for each entity or one after another. */
import { html, useEffect } from "../../lib/html.js";
import { route, href } from "../../lib/route.js";
import { names, unknown, wantName } from "../../lib/known.js";
import { counted } from "../../lib/format.js";
import { Empty } from "../../parts/notice.js";
import { EntityList } from "../entities.js";
import { History } from "./history.js";
import { Pager } from "./pager.js";
import { Precision } from "./precision.js";
import { Reviewer } from "./reviewer.js";
import { Single } from "./single.js";

export function Review() {
  const { rest: [mode = "", entity = ""] } = route.value;
  useEffect(() => wantName(entity), [entity]);
  const name = names.value[entity] ?? entity;
  if (unknown.value.has(entity)) return html`<h1 class="unseen">Review</h1><${Empty} title=${`The index has no entity ${entity}`}>
    <p><a href="#/review">Choose another</a></p><//>`;
  if (mode && !["grid", "single", "history"].includes(mode)) return html`<h1 class="unseen">Review</h1><${Empty} title="There is no such view">
    <p><a href="#/review">Go to the review</a></p><//>`;
  const grid = mode === "grid" && entity;
  return html`
    <header class="review-head">
      <div>
        <h1>${grid ? name : mode === "single" ? (entity ? name : "Single labels") : mode === "history" ? "My verdicts" : "Review"}</h1>
        ${mode !== "single" && html`<p class="lead">${grid ? "Everything here is taken as right. Mark what does not show it."
          : mode === "history" ? "What you said, latest first. Each can be taken back."
          : "Choose an entity to judge its labels by the page, or judge single labels, the most telling first."}</p>`}
      </div>
      <div class="review-tools">
        <${Reviewer} />
        ${mode && html`<nav aria-label="Ways to review" class="actions">
          ${grid ? html`<a class="button" href=${href(["review", "single", entity])}>One by one</a>`
            : entity && html`<a class="button" href=${href(["review", "grid", entity])}>As a grid</a>`}
          <a class="button" href="#/review">Other entities</a></nav>`}
      </div>
    </header>
    <${Precision} entity=${entity} />
    ${grid ? html`<${Pager} key=${entity} entity=${entity} name=${name} />`
      : mode === "history" ? html`<${History} />` : mode === "single" ? html`<${Single} key=${entity} entity=${entity} />`
        : html`<p class="actions"><a class="button main" href="#/review/single">Judge single labels</a>
            <a class="button" href="#/review/history">My verdicts</a>
            <a class="button" href="api/verdicts.parquet" download>Verdicts as Parquet</a></p>
          <h2>Entities</h2>
          <${EntityList} path=${["review"]} target=${(each) => href(["review", "grid", each.id])}
            tail=${(each) => counted(each.images, "label")} />`}`;
}

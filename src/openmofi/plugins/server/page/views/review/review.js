/** Review: people judge labels, in a grid for each entity or one after another. */
import { html, useEffect } from "../../lib/html.js";
import { route, href } from "../../lib/route.js";
import { names, unknown, wantName } from "../../lib/known.js";
import { t } from "../../lib/text.js";
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
  if (unknown.value.has(entity)) return html`<h1 class="unseen">${t("view.review")}</h1><${Empty} title=${t("review.unknown", { entity })}>
    <p><a href="#/review">${t("review.another")}</a></p><//>`;
  if (mode && !["grid", "single", "history"].includes(mode)) return html`<h1 class="unseen">${t("view.review")}</h1><${Empty} title=${t("app.noView")}>
    <p><a href="#/review">${t("review.back")}</a></p><//>`;
  const grid = mode === "grid" && entity;
  return html`
    <header class="review-head">
      <div>
        <h1>${grid ? name : mode === "single" ? (entity ? name : t("review.single")) : t(mode === "history" ? "review.history" : "view.review")}</h1>
        ${mode !== "single" && html`<p class="lead">${t(grid ? "review.gridLead" : mode === "history" ? "review.historyLead" : "review.lead")}</p>`}
      </div>
      <div class="review-tools">
        <${Reviewer} />
        ${mode && html`<nav aria-label=${t("review.ways")} class="actions">
          ${grid ? html`<a class="button" href=${href(["review", "single", entity])}>${t("review.oneByOne")}</a>`
            : entity && html`<a class="button" href=${href(["review", "grid", entity])}>${t("review.asGrid")}</a>`}
          <a class="button" href="#/review">${t("review.others")}</a></nav>`}
      </div>
    </header>
    <${Precision} entity=${entity} />
    ${grid ? html`<${Pager} key=${entity} entity=${entity} name=${name} />`
      : mode === "history" ? html`<${History} />` : mode === "single" ? html`<${Single} key=${entity} entity=${entity} />`
        : html`<p class="actions"><a class="button main" href="#/review/single">${t("review.judge")}</a>
            <a class="button" href="#/review/history">${t("review.history")}</a>
            <a class="button" href="api/verdicts.parquet" download>${t("review.parquet")}</a></p>
          <h2>${t("view.entities")}</h2>
          <${EntityList} path=${["review"]} target=${(each) => href(["review", "grid", each.id])}
            tail=${(each) => t("labels", { count: each.images })} />`}`;
}

/** The reviewer's verdicts, latest first, each of which can be taken back. */
import { api } from "../../lib/api.js";
import { html, useEffect, useState } from "../../lib/html.js";
import { href } from "../../lib/route.js";
import { title } from "../../lib/format.js";
import { formatted, t } from "../../lib/text.js";
import { Icon } from "../../parts/icons.js";
import { Empty, Failure, say, Waiting } from "../../parts/notice.js";
import { Thumbnail } from "../../parts/tile.js";
import { wordOf } from "../../parts/verdict.js";
import { reviewer } from "./reviewer.js";
import { takeBack } from "./verdicts.js";

const PAGE = 50;
const WHEN = { dateStyle: "medium", timeStyle: "short" };

export function History() {
  const who = reviewer.value;
  const [rows, setRows] = useState(null);
  const [more, setMore] = useState(false);
  const [error, setError] = useState(null);
  const attempt = async (act) => {
    setError(null);
    try {
      await act();
    } catch (failed) {
      setError(failed);
    }
  };
  const read = (before) => attempt(async () => {
    const found = await api.history({ who, limit: PAGE, offset: before.length });
    if (reviewer.value !== who) return;
    setRows([...before, ...found]);
    setMore(found.length === PAGE);
  });
  useEffect(() => {
    setRows(null);
    read([]);
  }, [who]);
  const undo = (row) => attempt(async () => {
    await takeBack([row.verdict.id]);
    setRows((old) => old.filter((each) => each !== row));
    say(t("verdict.undone", { name: row.entity.name }));
  });
  const failure = error && html`<${Failure} error=${error} retry=${() => read(rows ?? [])} />`;
  if (!rows) return failure || html`<${Waiting} />`;
  return html`${failure}
    ${rows.length === 0 && html`<${Empty} title=${t("history.none")}><p>${who ? t("history.noneBy", { who }) : t("history.noneUnnamed")}</p><//>`}
    <ol class="history" aria-label=${t("history.title")}>${rows.map((row) => html`<${Row} key=${row.verdict.id} row=${row} onUndo=${() => undo(row)} />`)}</ol>
    ${more && html`<p class="center"><button class="button" onClick=${() => read(rows)}>${t("more")}</button></p>`}`;
}

function Row({ row, onUndo }) {
  const { verdict, image, entity, instead } = row;
  return html`<li>
    <span class="small-image">${image && html`<${Thumbnail} image=${image} />`}</span>
    <div><p><span class=${`said ${verdict.verdict}`}>${wordOf(verdict.verdict)}</span> <a href=${href(["entity", entity.id])}>${entity.name}</a>${
      instead && t("history.instead", { name: html`<a href=${href(["entity", instead.id])}>${instead.name}</a>` })}</p>
      <p class="faint">${image ? html`<a href=${href(["images"], { ids: image.id, show: image.id })}>${title(image)}</a>` : t("history.gone", { place: `${verdict.shard} · ${verdict.key}` })}
        ${" · "}<time datetime=${verdict.when}>${formatted(new Date(verdict.when), WHEN)}</time></p></div>
    <button class="button small" aria-label=${t("history.undo", { name: entity.name, said: wordOf(verdict.verdict) })} onClick=${onUndo}><${Icon} name="undo" />${t("undo")}</button></li>`;
}

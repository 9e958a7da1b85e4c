/** Images chosen in a grid, and the bar of what is done with all of them at once. */
import { api } from "../lib/api.js";
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { useKeys } from "../lib/keys.js";
import { learn, names, wantName } from "../lib/known.js";
import { href } from "../lib/route.js";
import { t } from "../lib/text.js";
import { AT_ONCE, judge, takeBack } from "../views/review/verdicts.js";
import { EntityBox } from "./entitybox.js";
import { Icon } from "./icons.js";
import { Failure, say } from "./notice.js";
import { wordOf } from "./verdict.js";

const MOST_LINKED = 500;

/**
 * @typedef {object} Selection
 * @property {Set<number>} ids of images
 * @property {(place: number, range?: boolean) => void} pick chooses an image or no longer; with `range` all since the last
 * @property {() => void} all that are loaded, above the line where there is one
 * @property {() => void} clear
 */

/**
 * @param {import("../lib/pages.js").List<any, any>} list
 * @param {number | null} end tiles above the line
 * @param {number[]} picked ids that are chosen at first
 * @returns {Selection}
 */
export function useSelection(list, end, picked) {
  const [ids, setIds] = useState(new Set(picked));
  const anchor = useRef(0);
  const before = useRef(list);
  useEffect(() => {
    if (before.current !== list) setIds(new Set());
    before.current = list;
  }, [list]);
  const idAt = (place) => (list.at(place)?.image ?? list.at(place))?.id;
  const take = (next, missing = 0) => {
    setIds(next);
    say(`${t("selection.count", { count: next.size })}.${missing ? ` ${t("selection.missing", { count: missing })}` : ""}`);
  };
  const pick = (place, range = false) => {
    const on = !ids.has(idAt(place));
    const next = new Set(ids);
    const [from, to] = range ? [Math.min(anchor.current, place), Math.max(anchor.current, place)] : [place, place];
    let missing = 0;
    for (let at = from; at <= to; at += 1) {
      const id = idAt(at);
      if (id === undefined) missing += 1;
      else if (on) next.add(id);
      else next.delete(id);
    }
    anchor.current = place;
    take(next, missing);
  };
  const all = () => take(new Set(Array.from({ length: end || list.total }, (_, place) => idAt(place)).filter(Boolean)));
  return { ids, pick, all, clear: () => take(new Set()) };
}

/** Verdicts on one label of many images, all of them or none. @returns {Promise<number[]>} ids of the verdicts */
async function judgeAll(ids, entity, value) {
  const given = [];
  try {
    for (let from = 0; from < ids.length; from += AT_ONCE) {
      const images = await api.images(ids.slice(from, from + AT_ONCE));
      given.push(...await judge(images.map((image) => ({ image, entity, value }))));
    }
  } catch (error) {
    if (given.length) await takeBack(given);
    throw error;
  }
  return given;
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const address = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/**
 * @param {object} props
 * @param {Selection} props.selection
 * @param {string} props.entity that is searched or seen, of which the images can be right or wrong; "" for none
 * @param {() => void} props.onEmpty the focus goes elsewhere
 */
export function SelectionBar({ selection, entity, onEmpty }) {
  const [done, setDone] = useState(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const [naming, setNaming] = useState(false);
  const [link, setLink] = useState("");
  const { ids } = selection;
  const chosen = [...ids];
  useEffect(() => { wantName(entity); }, [entity]);
  useEffect(() => {
    setLink("");
    if (ids.size) setDone(null);
    else setNaming(false);
  }, [ids]);
  const act = async (what) => {
    if (busy) return;
    setBusy(true);
    setError(null);
    try {
      await what();
    } catch (failed) {
      setError(failed);
    } finally {
      setBusy(false);
    }
  };
  const give = (value, { id, name }) => act(async () => {
    const verdicts = await judgeAll(chosen, id, value);
    const sentence = t("selection.judged", { count: verdicts.length, name, said: wordOf(value) });
    selection.clear();
    setDone({ verdicts, sentence });
    say(sentence);
    onEmpty();
  });
  const undo = () => act(async () => {
    await takeBack(done.verdicts);
    setDone(null);
    say(t("selection.undone", { count: done.verdicts.length }));
    onEmpty();
  });
  const clear = () => {
    selection.clear();
    setError(null);
    onEmpty();
  };
  const copy = () => act(async () => {
    const address = new URL(href(["images"], { ids: chosen.join(",") }), location.href).href;
    // Browsers let a page write there only on https and on this machine.
    await navigator.clipboard?.writeText(address).then(() => say(t("selection.copied")), () => {});
    setLink(address);
  });
  useKeys((event) => {
    const control = event.ctrlKey || event.metaKey;
    if (control && event.key === "a") selection.all();
    else if (!control && event.key === "Escape" && ids.size) clear();
    else if (!control && event.key === "z" && done) undo();
    else return false;
    return true;
  }, { withControl: true });
  if (!ids.size && !done && !error) return null;
  const named = { id: entity, name: names.value[entity] ?? entity };
  const button = (name, icon, onClick) => html`<button class="button" disabled=${busy} onClick=${onClick}>
    <${Icon} name=${icon} /><span class="named">${name}</span></button>`;
  return html`<div class="selection" role="region" aria-label=${t("selection.title")}>
    ${error && html`<${Failure} error=${error} />`}
    ${ids.size > 0 ? html`<strong>${t("selection.count", { count: ids.size })}</strong>
      ${entity && html`<span class="actions" role="group" aria-label=${t("selection.ask", { name: named.name })}><span class="faint">${named.name}:</span>
        ${button(t("selection.right"), "check", () => give("y", named))}${button(t("selection.wrong"), "close", () => give("n", named))}</span>`}
      ${naming ? html`<${EntityBox} label=${t("selection.as")} placeholder=${t("selection.asPlaceholder")} focused
          onEntity=${(other) => { learn([other]); give("y", other); }} />`
        : button(t("selection.asButton"), "tag", () => setNaming(true))}
      ${["parquet", "csv"].map((kind) => html`<button key=${kind} class="button export" disabled=${busy} title=${t("selection.file")}
        onClick=${() => act(async () => save(await api.labelsFile(kind, chosen), `labels.${kind}`))}>
        <${Icon} name="download" />${{ parquet: "Parquet", csv: "CSV" }[kind]}</button>`)}
      ${link ? html`<input class="link-field" type="text" readonly aria-label=${t("selection.link")} value=${link}
          onFocus=${(event) => event.currentTarget.select()} />`
        : ids.size <= MOST_LINKED && button(t("selection.copy"), "link", copy)}
      ${button(t("selection.clear"), "close", clear)}`
      : html`${done && html`<strong>${done.sentence}</strong>${button(t("undo"), "undo", undo)}`}
        ${button(t("close"), "close", () => { setDone(null); setError(null); onEmpty(); })}`}
  </div>`;
}

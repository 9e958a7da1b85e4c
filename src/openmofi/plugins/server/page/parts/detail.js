/** One image, large: what is known of it, what it may show, the images before and after it, and searching on with it. */
import { api, original } from "../lib/api.js";
import { marked, split, title } from "../lib/format.js";
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { useKeys } from "../lib/keys.js";
import { t } from "../lib/text.js";
import { lookClosely } from "./closely.js";
import { Dialog } from "./dialog.js";
import { onScreen } from "./grid.js";
import { Icon } from "./icons.js";
import { Labels } from "./labels.js";
import { Large } from "./large.js";
import { Failure, Waiting } from "./notice.js";
import { Recognition } from "./recognition.js";
import { RegionPicker } from "./region.js";
import { useVerdicts } from "./verdict.js";

/**
 * The image of an item of a list: a result, a label, or the image itself.
 * @param {any} item
 */
const imageOf = (item) => item?.image ?? item;

/** @param {import("../lib/pages.js").List<any, any>} list @param {number} id @returns {number} place, or -1 */
function placeOf(list, id) {
  for (let place = 0; place < list.total; place += 1) if (imageOf(list.at(place))?.id === id) return place;
  return -1;
}

/**
 * Steps through the list that the grid on the screen shows.
 * @param {number} id
 * @param {(image: any) => void} onStep
 */
function useSteps(id, onStep) {
  const list = onScreen.value?.list;
  const at = useRef({ id: 0, place: -1 });
  const [wanted, setWanted] = useState(-1);
  if (list && (at.current.id !== id || at.current.place < 0)) at.current = { id, place: placeOf(list, id) };
  const { place } = at.current;
  const neighbours = list && place >= 0 ? [place - 1, place + 1].filter((near) => near >= 0 && near < list.total) : [];
  const loaded = neighbours.map((near) => imageOf(list.at(near))?.id).join();
  useEffect(() => {
    if (neighbours.some((near) => !list.at(near))) list.look(Math.max(0, place - 1), place + 2);
    for (const near of neighbours) if (list.at(near)) new Image().src = original(imageOf(list.at(near)).id);
  }, [place, loaded]);
  const next = wanted >= 0 && imageOf(list?.at(wanted));
  useEffect(() => {
    if (!next) return;
    at.current = { id: next.id, place: wanted };
    setWanted(-1);
    onStep(next);
  }, [next]);
  const step = (by) => { if (neighbours.includes(place + by)) setWanted(place + by); };
  return { step, place, total: list?.total ?? 0, can: (by) => neighbours.includes(place + by) };
}

/**
 * @param {object} props
 * @param {number} props.id
 * @param {any} [props.known] its ImageRecord, where the page has it already
 * @param {() => void} props.onClose
 * @param {(example: import("../lib/query.js").Example) => void} props.onSearch
 * @param {(image: any) => void} props.onStep another image of the list; the address is replaced
 */
export function Detail({ id, known, onClose, onSearch, onStep }) {
  const [asked, setAsked] = useState({ id: 0 });
  const [keys, setKeys] = useState(false);
  const { step, place, total, can } = useSteps(id, onStep);
  const opened = useRef(place);
  const left = useRef(-1);
  const image = known ?? (asked.id === id ? asked.image : null);
  const error = asked.id === id ? asked.error : null;
  useEffect(() => {
    if (!known) api.image(id).then((found) => setAsked({ id, image: found }), (failed) => setAsked({ id, error: failed }));
  }, [id]);
  useKeys((event) => {
    if (document.querySelector(".pswp")) return false;
    if (event.key === "?") setKeys(!keys);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") step(event.key === "ArrowLeft" ? -1 : 1);
    else return false;
    return true;
  }, { inDialog: true });
  const close = () => {
    left.current = place >= 0 && place !== opened.current ? place : -1;
    onClose();
  };
  // Where one stepped on, the grid follows when the dialog has given the focus back.
  useEffect(() => () => { if (left.current >= 0) setTimeout(() => onScreen.value?.move(left.current)); }, []);
  const turn = (by, name, icon) => html`<button class="round" aria-label=${name} title=${name} disabled=${!can(by)}
    onClick=${() => step(by)}><${Icon} name=${icon} /></button>`;
  const tools = html`<div class="steps">
    ${place >= 0 && html`${turn(-1, t("detail.previous"), "left")}
      <span class="figure" role="status">${t("detail.place", { place: place + 1, total })}</span>${turn(1, t("detail.next"), "right")}`}
    <button class="round wide-only" aria-label=${t("detail.keys")} title=${t("detail.keys")} aria-expanded=${keys} onClick=${() => setKeys(!keys)}><${Icon} name="keys" /></button></div>`;
  return html`<${Dialog} title=${image ? title(image) : t("detail.image")} kind="wide" tools=${tools} onClose=${close}>
    ${keys && html`<p class="keys">${t("detail.keysHelp", { left: html`<kbd>←</kbd>`, right: html`<kbd>→</kbd>`,
      tab: html`<kbd>Tab</kbd>`, help: html`<kbd>?</kbd>`, escape: html`<kbd>Esc</kbd>` })}</p>`}
    ${error ? html`<${Failure} error=${error} />` : image ? html`<${Shown} key=${id} image=${image} onSearch=${onSearch} />` : html`<${Waiting} />`}
  <//>`;
}

function Shown({ image, onSearch }) {
  const { id } = image;
  const [choosing, setChoosing] = useState(false);
  const [region, setRegion] = useState(null);
  const [recognising, setRecognising] = useState(false);
  const [reading, setReading] = useState(null);
  const verdicts = useVerdicts(image);
  useEffect(() => {
    let current = true;
    // An index that was not built of labels has no reading.
    api.reading(id).then((found) => current && setReading(found), () => {});
    return () => { current = false; };
  }, []);
  const part = choosing ? region ?? [0.25, 0.25, 0.75, 0.75] : null;
  const search = () => onSearch({ image: id, weight: 1, region: part });
  return html`<div class="detail">
    <div class="stage">
      <${Large} src=${original(id)} alt=${title(image)} width=${image.width} height=${image.height}>
        ${choosing && html`<${RegionPicker} region=${region} onRegion=${setRegion} onDone=${search} />`}<//>
    </div>
    <div class="about">
      <div class="actions">
        <button class="button main" onClick=${search}><${Icon} name="search" />
          ${choosing ? t("region.search") : t("detail.like")}</button>
        <button class="button" onClick=${() => setChoosing(!choosing)}>
          <${Icon} name="crop" />${choosing ? t("region.whole") : t("region.select")}</button>
        <button class="button" onClick=${() => lookClosely(image)}><${Icon} name="closer" />${t("detail.closely")}</button>
        <button class="button" aria-pressed=${recognising} onClick=${() => setRecognising(!recognising)}>
          <${Icon} name="tag" />${t("detail.recognise")}</button>
        <a class="button" href=${original(id)} download><${Icon} name="download" />${t("detail.download")}</a>
      </div>
      ${choosing && html`<p class="faint">${t("region.help")}</p>`}
      ${recognising && html`<${Recognition} image=${id} region=${part} verdicts=${verdicts} />`}
      <${Labels} image=${image} reading=${reading} verdicts=${verdicts} />
      ${image.text.trim() && html`<${Caption} image=${image} reading=${reading} />`}
      <${Facts} image=${image} />
    </div>
  </div>`;
}

/** The whole text. What was read as a name is marked: that of a label, underlined what names something else. */
function Caption({ image, reading }) {
  const labels = new Set(reading?.candidates.filter(({ accepted }) => accepted).map(({ mention }) => mention));
  const mentions = reading?.text === image.text ? reading.mentions : [];
  const pieces = mentions.length ? split(image.text, mentions.map(({ start, end }, place) => ({ start, end, kind: String(place) })))
    : marked(image.text, image.labels.filter(({ accepted }) => accepted).map(({ name }) => name));
  const shown = ({ text, mark }) => {
    const { kind = "", detector = "", reason = "" } = mentions[mark] ?? {};
    return mark ? html`<mark class=${!mentions.length || labels.has(Number(mark)) ? "meant" : "other"}
      title=${[kind, detector, reason].filter(Boolean).join(" · ")}>${text}</mark>` : text;
  };
  const kinds = [...new Set(mentions.map(({ kind }) => kind).filter(Boolean))];
  return html`<section aria-label=${t("detail.text")}><h3>${t("detail.text")}</h3>
    <blockquote class="caption" tabindex="0">${pieces.map(shown)}</blockquote>
    ${kinds.length > 0 && html`<p class="faint named-in">${t("detail.namesIn", { kinds: kinds.join(", ") })}</p>`}</section>`;
}

function Facts({ image }) {
  const columns = Object.entries(image.columns).filter(([, value]) => value !== null && value !== "");
  return html`<dl class="facts">
    ${image.width > 0 && html`<dt>${t("detail.size")}</dt><dd>${image.width} × ${image.height}</dd>`}
    <dt>${t("detail.file")}</dt><dd>${image.path || `${image.shard} · ${image.key}`}</dd>
    ${/^https?:\/\//.test(image.url) && html`<dt>${t("detail.from")}</dt><dd><a href=${image.url} rel="noreferrer noopener" target="_blank">${image.url}</a></dd>`}
    ${columns.map(([name, value]) => html`<dt>${name}</dt><dd>${String(value)}</dd>`)}
  </dl>`;
}

/** One label at a time: image, text with the mention, candidates, evidence, verdict. */
import { api, original } from "../../lib/api.js";
import { marked, percent, split } from "../../lib/format.js";
import { html, useEffect, useRef, useState } from "../../lib/html.js";
import { useKeys } from "../../lib/keys.js";
import { href } from "../../lib/route.js";
import { formatted, t } from "../../lib/text.js";
import { lookClosely } from "../../parts/closely.js";
import { EntityBox } from "../../parts/entitybox.js";
import { Icon } from "../../parts/icons.js";
import { Large } from "../../parts/large.js";
import { Empty, Failure, say, Waiting } from "../../parts/notice.js";
import { LIKELY } from "../../parts/recognition.js";
import { Thumbnail } from "../../parts/tile.js";
import { reviewer } from "./reviewer.js";
import { judge, takeBack } from "./verdicts.js";

const AHEAD = 20;
const MOST_INSTEAD = 9;
const ANSWERS = { y: "single.saidYes", n: "single.saidNo", u: "said.unsure" };
const COSINE = { minimumFractionDigits: 2, maximumFractionDigits: 2 };

const keyOf = ({ image, entity }) => `${image.id} ${entity.id}`;

/** @param {{entity: string}} props all entities where it is empty */
export function Single({ entity }) {
  const [queue, setQueue] = useState(null);
  const [past, setPast] = useState([]);
  const [error, setError] = useState(null);
  const { current: skipped } = useRef(new Set());
  const busy = useRef(false);
  const read = async () => {
    setError(null);
    try {
      const found = await api.review({ entity, order: "active", accepted: true, who: reviewer.value, limit: AHEAD + skipped.size });
      setQueue(found.filter((each) => !skipped.has(keyOf(each))));
    } catch (failed) {
      setError(failed);
    }
  };
  useEffect(() => { read(); }, []);
  const item = queue?.[0];

  const skip = () => {
    skipped.add(keyOf(item));
    return rest();
  };
  const rest = async () => queue.length > 1 ? setQueue(queue.slice(1)) : read();
  const decide = async (value, instead = "", name = "") => {
    if (busy.current || !item) return;
    busy.current = true;
    setError(null);
    try {
      const ids = await judge([{ image: item.image, entity: item.entity.id, value, instead }]);
      setPast([...past, { ids, item, value, name }]);
      say(name ? t("single.is", { name }) : t("single.given", { said: t(ANSWERS[value]) }));
      await rest();
    } catch (failed) {
      setError(failed);
    } finally {
      busy.current = false;
    }
  };
  const undo = async () => {
    const last = past.at(-1);
    if (busy.current || !last) return;
    busy.current = true;
    try {
      await takeBack(last.ids);
      setPast(past.slice(0, -1));
      setQueue([last.item, ...(queue ?? [])]);
      say(t("single.undone"));
    } catch (failed) {
      setError(failed);
    } finally {
      busy.current = false;
    }
  };
  useKeys((event) => {
    if (event.key !== "z" || event.repeat) return false;
    undo();
    return true;
  });
  const last = past.at(-1);
  const failure = error && html`<${Failure} error=${error} retry=${queue ? undefined : read} />`;
  return html`${failure}
    ${!queue && !error && html`<${Waiting} />`}
    ${queue && (item ? html`<${Label} key=${keyOf(item)} item=${item} onDecide=${decide} onSkip=${skip} />`
      : html`<${Empty} title=${t("single.done")}><p>${t(entity ? "single.noneLeft" : "single.noLabelLeft")}
          ${" "}<a href="#/review">${t("single.choose")}</a></p><//>`)}
    <div class="judge-bar">
      <button class="button" disabled=${!last} onClick=${undo}><${Icon} name="undo" /><span class="undo">${t("undo")}</span></button>
      <p class="faint" data-last>${last && t(last.name ? "single.lastInstead" : "single.last", { name: last.item.entity.name, said: t(ANSWERS[last.value]),
        instead: last.name, share: percent(last.item.probability), count: past.length })}</p>
    </div>`;
}

function Label({ item, onDecide, onSkip }) {
  const { image, entity } = item;
  const [near, setNear] = useState(null);
  const [reading, setReading] = useState(null);
  const [asking, setAsking] = useState(false);
  useEffect(() => {
    let current = true;
    // Evidence is a help: the verdict does not wait for it. An index that was not built of labels has no reading.
    api.reading(image.id).then((found) => current && setReading(found), () => {});
    api.recogniseImage(image.id).then((found) => current && setNear(found.entities), () => current && setNear([]));
    return () => { current = false; };
  }, []);
  const evidence = near?.find((found) => found.entity.id === entity.id)?.evidence ?? [];
  const candidates = reading?.candidates ?? [];
  const meant = new Set(candidates.filter((each) => each.entity === entity.id).map((each) => each.mention));
  const kinds = [...new Set([...meant].map((place) => reading.mentions[place]?.kind).filter(Boolean))];
  // What the same mention may mean comes first, then what else was judged, then what is alike.
  const described = new Map(candidates.map((each) => [each.entity, each.description]));
  const others = new Map(candidates.filter((each) => meant.has(each.mention)).map((each) => [each.entity, each.name]));
  image.labels.forEach((label) => others.set(label.entity, label.name));
  near?.filter((found) => (found.probability ?? 1) >= LIKELY).forEach((found) => {
    others.set(found.entity.id, found.entity.name);
    described.set(found.entity.id, found.entity.description);
  });
  others.delete(entity.id);
  const names = [entity.name, ...others.values()];
  const pieces = reading?.text === image.text && meant.size
    ? split(image.text, reading.mentions.map(({ start, end }, place) => ({ start, end, kind: meant.has(place) ? "meant" : "other" })))
    : marked(image.text, [entity.name, ...entity.aliases]);
  const instead = [...others].slice(0, MOST_INSTEAD);

  useKeys((event) => {
    if (event.repeat) return false;
    const other = instead[Number(event.key) - 1];
    if (["y", "n", "u"].includes(event.key)) onDecide(event.key);
    else if (event.key === "s") onSkip();
    else if (event.key === "i") setAsking(true);
    else if (other) onDecide("n", ...other);
    else return false;
    return true;
  });
  return html`<div class="single">
    <div class="stage"><button class="plain" aria-label=${t("detail.closely")} onClick=${() => lookClosely(image)}>
      <${Large} src=${original(image.id)} alt=${image.text ? "" : image.key} width=${image.width} height=${image.height} /></button></div>
    <div class="about">
      <h2 class="question">${t("verdict.ask", { name: html`<a href=${href(["entity", entity.id])}>${entity.name}</a>` })}</h2>
      ${entity.description && html`<p class="lead">${entity.description}</p>`}
      ${image.text && html`<blockquote class="caption">${pieces
        .map((part) => part.mark ? html`<mark class=${part.mark}>${part.text}</mark>` : part.text)}</blockquote>`}
      ${kinds.length > 0 && html`<p class="faint named-in">${t("single.namedIn", { kinds: kinds.join(", ") })}</p>`}
      <div class="verdicts" role="group" aria-label=${t("single.verdict")}>
        <button class="button yes" onClick=${() => onDecide("y")}><${Icon} name="check" />${t("single.yes")} <kbd>y</kbd></button>
        <button class="button no" onClick=${() => onDecide("n")}><${Icon} name="close" />${t("single.no")} <kbd>n</kbd></button>
        <button class="button" onClick=${() => onDecide("u")}><${Icon} name="question" />${t("single.unsure")} <kbd>u</kbd></button>
        <button class="button" onClick=${onSkip}>${t("single.skip")} <kbd>s</kbd></button>
      </div>
      <section aria-label=${t("single.thisInstead")}><h3>${t("single.thisInstead")}</h3>
        <ul class="chips">${instead.map(([id, name], place) => html`<li key=${id}><span class="chip">
          <button type="button" class="chip-text" title=${described.get(id)} onClick=${() => onDecide("n", id, name)}><kbd>${place + 1}</kbd> ${name}${
            names.indexOf(name) !== names.lastIndexOf(name) && described.get(id) && html` <span class="homonym">${described.get(id)}</span>`}</button></span></li>`)}
          ${!asking && html`<li key="another"><span class="chip"><button type="button" class="chip-text" onClick=${() => setAsking(true)}>
            <kbd>i</kbd> ${t("single.another")}</button></span></li>`}</ul>
        ${asking && html`<div class="instead"><${EntityBox} label=${t("single.instead")} placeholder=${t("entityName")} focused
          onEntity=${(other) => onDecide("n", other.id, other.name)} /></div>`}</section>
      ${evidence.length > 0 && html`<section aria-label=${t("single.evidence")}><h3>${t("single.near", { name: entity.name })}</h3>
        <div class="evidence">${evidence.map(([each, cosine]) => html`<span key=${each.id} class="small-image" title=${t("single.similarity", { value: formatted(cosine, COSINE) })}>
          <${Thumbnail} image=${each} /></span>`)}</div></section>`}
    </div>
  </div>`;
}

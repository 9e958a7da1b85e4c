/** One image, large: what is known of it, what it may show, and searching on with it or a part of it. */
import { api, original } from "../lib/api.js";
import { percent, title } from "../lib/format.js";
import { html, useEffect, useState } from "../lib/html.js";
import { href } from "../lib/route.js";
import { Chip } from "./chip.js";
import { lookClosely } from "./closely.js";
import { Dialog } from "./dialog.js";
import { Icon } from "./icons.js";
import { Large } from "./large.js";
import { Failure, Waiting } from "./notice.js";
import { Recognition } from "./recognition.js";
import { RegionPicker } from "./region.js";

/**
 * @param {object} props
 * @param {number} props.id
 * @param {any} [props.known] its ImageRecord, where the page has it already
 * @param {() => void} props.onClose
 * @param {(example: import("../lib/query.js").Example) => void} props.onSearch
 */
export function Detail({ id, known, onClose, onSearch }) {
  const [image, setImage] = useState(known ?? null);
  const [error, setError] = useState(null);
  const [choosing, setChoosing] = useState(false);
  const [region, setRegion] = useState(null);
  const [recognising, setRecognising] = useState(false);
  useEffect(() => {
    if (!image) api.image(id).then(setImage, setError);
  }, []);
  if (error) return html`<${Dialog} title="Image" onClose=${onClose}><${Failure} error=${error} /><//>`;
  if (!image) return html`<${Dialog} title="Image" onClose=${onClose}><${Waiting} /><//>`;
  const part = choosing ? region ?? [0.25, 0.25, 0.75, 0.75] : null;
  const search = () => onSearch({ image: id, weight: 1, region: part });
  const columns = Object.entries(image.columns).filter(([, value]) => value !== null && value !== "");
  return html`<${Dialog} title=${title(image)} kind="wide" onClose=${onClose}>
    <div class="detail">
      <div class="stage">
        <${Large} src=${original(id)} alt=${title(image)} width=${image.width} height=${image.height}>
          ${choosing && html`<${RegionPicker} region=${region} onRegion=${setRegion} onDone=${search} />`}<//>
      </div>
      <div class="about">
        <div class="actions">
          <button class="button main" onClick=${search}><${Icon} name="search" />
            ${choosing ? "Search with the region" : "Search like this"}</button>
          <button class="button" onClick=${() => setChoosing(!choosing)}>
            <${Icon} name="crop" />${choosing ? "Whole image" : "Select a region"}</button>
          <button class="button" onClick=${() => lookClosely(image)}><${Icon} name="closer" />Look closely</button>
          <button class="button" aria-pressed=${recognising} onClick=${() => setRecognising(!recognising)}>
            <${Icon} name="tag" />Recognise</button>
        </div>
        ${choosing && html`<p class="faint">Drag over the image, or move the frame with the arrow keys and change its size
          with Shift and the arrow keys.</p>`}
        ${recognising && html`<${Recognition} image=${id} region=${part} />`}
        ${image.labels.length > 0 && html`<section aria-label="Labels"><h3>Labels</h3>
          <ul class="chips">${image.labels.map((label) => html`<li key=${label.entity}>
            <${Chip} href=${href(["entity", label.entity])} kind=${label.accepted ? "" : "candidate"}>
              ${label.name}<span class="figure"> ${percent(label.probability)}</span><//></li>`)}</ul></section>`}
        <dl class="facts">
          ${image.width > 0 && html`<dt>Size</dt><dd>${image.width} × ${image.height}</dd>`}
          <dt>File</dt><dd>${image.path || `${image.shard} · ${image.key}`}</dd>
          ${/^https?:\/\//.test(image.url) && html`<dt>From</dt><dd><a href=${image.url} rel="noreferrer noopener" target="_blank">${image.url}</a></dd>`}
          ${columns.map(([name, value]) => html`<dt>${name}</dt><dd>${String(value)}</dd>`)}
        </dl>
      </div>
    </div>
  <//>`;
}

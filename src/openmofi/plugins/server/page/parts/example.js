/** An example of a query, large: to choose a part of it, or to recognise it. */
import { original } from "../lib/api.js";
import { html, useState } from "../lib/html.js";
import { t } from "../lib/text.js";
import { Dialog } from "./dialog.js";
import { Icon } from "./icons.js";
import { Large } from "./large.js";
import { Recognition } from "./recognition.js";
import { RegionPicker } from "./region.js";

export function ExampleDialog({ example, src, name, onClose, onRegion }) {
  const [region, setRegion] = useState(example.region);
  const [recognising, setRecognising] = useState(false);
  const large = example.upload ? src : original(example.image);
  return html`<${Dialog} title=${t("example.part", { name })} kind="wide" onClose=${onClose}>
    <div class="detail">
      <div class="stage">${large ? html`<${Large} src=${large} alt=${name}>
          <${RegionPicker} region=${region} onRegion=${setRegion} onDone=${onRegion} /><//>`
        : html`<p class="faint">${t("example.lost")}</p>`}</div>
      <div class="about">
        <p class="faint">${t("region.help")}</p>
        <div class="actions">
          <button class="button main" disabled=${!region} onClick=${() => onRegion(region)}>
            <${Icon} name="crop" />${t("region.search")}</button>
          <button class="button" disabled=${!example.region} onClick=${() => onRegion(null)}>${t("region.whole")}</button>
          <button class="button" aria-pressed=${recognising} onClick=${() => setRecognising(!recognising)}>
            <${Icon} name="tag" />${t("detail.recognise")}</button>
        </div>
        ${recognising && html`<${Recognition} image=${example.image} upload=${example.upload} region=${region} />`}
      </div>
    </div>
  <//>`;
}

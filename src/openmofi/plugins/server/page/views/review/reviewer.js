/** The reviewer's name, which is kept in this browser and goes with every verdict. */
import { html, signal } from "../../lib/html.js";
import { keep, kept } from "../../lib/kept.js";
import { t } from "../../lib/text.js";
import { TextField } from "../../parts/field.js";

const PLACE = "openmofi.reviewer";

export const reviewer = signal(kept(PLACE));

export const Reviewer = () => html`<label class="field inline"><span>${t("reviewer.label")}</span>
  <${TextField} value=${reviewer.value} maxlength="200" autocomplete="name" placeholder=${t("reviewer.placeholder")}
    onValue=${(value) => {
      reviewer.value = value;
      keep(PLACE, reviewer.value);
    }} /></label>`;

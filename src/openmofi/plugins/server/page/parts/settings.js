/** The reader's settings, behind a button of the head. */
import { ApiError } from "../lib/api.js";
import { html, useState } from "../lib/html.js";
import { lasting, set, settings } from "../lib/settings.js";
import { speak, t } from "../lib/text.js";
import { Choice } from "./choice.js";
import { Dialog } from "./dialog.js";
import { Failure, say } from "./notice.js";

/** @param {{onClose: () => void}} props */
export function Settings({ onClose }) {
  const [error, setError] = useState(null);
  const choose = async (name, value) => {
    try {
      if (name === "language" && !await speak(value)) return;
      set(name, value);
      setError(null);
      say(t(lasting.value ? "settings.kept" : "settings.session"));
    } catch {
      setError(new ApiError(0, t("later.failed"), t("later.hint")));
    }
  };
  const choice = (name, legend, options) => html`<${Choice} legend=${legend} name=${name} options=${options} shown
    value=${settings.value[name]} onChange=${(value) => choose(name, value)} />`;
  return html`<${Dialog} title=${t("settings.title")} onClose=${onClose}><div class="settings">
    ${error && html`<${Failure} error=${error} />`}
    ${choice("theme", t("settings.theme"), [["", t("settings.system")], ["light", t("settings.light")], ["dark", t("settings.dark")]])}
    ${choice("tiles", t("settings.tiles"), [["small", t("settings.small")], ["", t("settings.medium")], ["large", t("settings.large")]])}
    ${choice("language", t("settings.language"), [["", t("settings.browser")], ["en", "English"], ["de", "Deutsch"]])}
    <p class="faint">${t(lasting.value ? "settings.kept" : "settings.session")}</p>
  </div><//>`;
}

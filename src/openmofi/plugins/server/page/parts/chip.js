/** A small rounded label: a link, a toggle, or something that can be taken away. */
import { html } from "../lib/html.js";
import { t } from "../lib/text.js";
import { Icon } from "./icons.js";

/**
 * @param {{href?: string, onRemove?: () => void, name?: string, kind?: string, children: any}} props
 *   `name` says what is taken away
 */
export function Chip({ href, onRemove, name = "", kind = "", children }) {
  return html`<span class=${`chip ${kind}`}>
    ${href ? html`<a href=${href}>${children}</a>` : html`<span>${children}</span>`}
    ${onRemove && html`<button type="button" class="chip-remove" aria-label=${t("remove", { name })} onClick=${onRemove}>
      <${Icon} name="close" /></button>`}
  </span>`;
}

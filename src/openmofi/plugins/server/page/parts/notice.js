/** What the page says where there is nothing to show, where something failed, and what is read out aloud. */
import { ApiError } from "../lib/api.js";
import { html, signal } from "../lib/html.js";
import { t } from "../lib/text.js";

/** The sentence that screen readers are told next. */
export const spoken = signal("");

/** @param {string} sentence */
export function say(sentence) {
  spoken.value = spoken.value === sentence ? `${sentence}\u00a0` : sentence;
}

export const Spoken = () => html`<div class="unseen" role="status" aria-live="polite">${spoken.value}</div>`;

// What is refused once is refused again.
const FOR_GOOD = [400, 404, 413, 415, 422];

/** @param {{error: Error, retry?: () => void}} props */
export function Failure({ error, retry }) {
  const { hint = "", request = "", status = 0 } = error instanceof ApiError ? error : {};
  return html`<div class="notice failure" role="alert">
    <h2>${error.message}</h2>
    ${hint && html`<p>${hint}</p>`}
    ${retry && !FOR_GOOD.includes(status) && html`<button class="button" onClick=${retry}>${t("again")}</button>`}
    ${status >= 500 && request && html`<p class="faint">${t("notice.log", { request })}</p>`}
  </div>`;
}

/** @param {{title: string, children?: any}} props */
export const Empty = ({ title, children }) => html`<div class="notice"><h2>${title}</h2>${children}</div>`;

export const Waiting = ({ what = t("wait.loading") }) => html`<p class="waiting" role="status">${what} …</p>`;

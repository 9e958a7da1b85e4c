/** The reviewer's name, which is kept in this browser and goes with every verdict. */
import { html, signal } from "../../lib/html.js";

const PLACE = "openmofi.reviewer";

function kept() {
  try {
    return localStorage.getItem(PLACE) ?? "";
  } catch {
    return ""; // a browser that keeps nothing
  }
}

export const reviewer = signal(kept());

export const Reviewer = () => html`<label class="field inline"><span>Reviewer</span>
  <input type="text" value=${reviewer.value} maxlength="200" autocomplete="name" placeholder="your name"
    onChange=${(event) => {
      reviewer.value = event.currentTarget.value.trim();
      try {
        localStorage.setItem(PLACE, reviewer.value);
      } catch { /* then it holds until the page is closed */ }
    }} /></label>`;

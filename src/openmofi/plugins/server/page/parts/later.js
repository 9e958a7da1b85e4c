/** What the first look does not need: one file, fetched when somebody first moves, or when something of it is shown. */
import { ApiError } from "../lib/api.js";
import { html, signal, useEffect } from "../lib/html.js";
import { t } from "../lib/text.js";
import { Failure, Waiting } from "./notice.js";

const held = signal(null);
const failed = signal(null);

function load() {
  if (held.value) return;
  failed.value = null;
  import("../views/later.js").then((found) => { held.value = found; }, () => {
    failed.value = new ApiError(0, t("later.failed"), t("later.hint"));
  });
}

// So that it is there when it is clicked for.
for (const kind of ["pointermove", "pointerdown", "keydown"]) addEventListener(kind, load, { once: true, passive: true });

/** A component of `views/later.js`, with all other properties. @param {{of: string}} props its name */
export function Later({ of, ...props }) {
  useEffect(load, []);
  if (held.value) return html`<${held.value[of]} ...${props} />`;
  return failed.value ? html`<${Failure} error=${failed.value} retry=${load} />` : html`<${Waiting} />`;
}

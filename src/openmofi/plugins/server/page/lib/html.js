/** What every module of the page renders with: `html` of htm over preact, hooks and signals. */
import { h, render } from "../vendor/preact.js";
import htm from "../vendor/htm.js";

export { Fragment } from "../vendor/preact.js";
export { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "../vendor/preact-hooks.js";
export { batch, computed, effect, signal } from "../vendor/signals-core.js";
export { useComputed, useSignal } from "../vendor/signals.js";
export { render };

/** Values are always text or attributes: nothing of the index is ever read as HTML. */
export const html = htm.bind(h);

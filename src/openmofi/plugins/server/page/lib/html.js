/** What every module of the page renders with: `html` of htm over preact, hooks and signals. */
import htm from "htm";
import { h, render } from "preact";

export { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
export { effect, signal } from "@preact/signals";
export { render };

/** Values are always text or attributes: nothing of the index is ever read as HTML. */
export const html = htm.bind(h);

/** Keys that a view takes wherever the focus is, but where one types. */
import { useLayoutEffect, useRef } from "./html.js";

/** @param {KeyboardEvent} event */
const isTyping = (event) => event.ctrlKey || event.metaKey || event.altKey
  || event.target.matches?.("input, textarea, select") || document.querySelector("dialog[open]") !== null;

/**
 * @param {(event: KeyboardEvent) => boolean} onKey of the last render; whether it took the key
 */
export function useKeys(onKey) {
  const latest = useRef(onKey);
  latest.current = onKey;
  useLayoutEffect(() => {
    const listen = (event) => { if (!isTyping(event) && latest.current(event)) event.preventDefault(); };
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, []);
}

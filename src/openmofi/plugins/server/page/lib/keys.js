/** Keys that a view takes wherever the focus is, but where one types. */
import { useLayoutEffect, useRef } from "./html.js";

/** @param {KeyboardEvent} event */
const isTyping = (event) => event.altKey
  || event.target.matches?.("input:not([type=checkbox]), textarea, select");

/**
 * @param {(event: KeyboardEvent) => boolean} onKey of the last render; whether it took the key
 * @param {{inDialog?: boolean, withControl?: boolean}} [options] for the view in a dialog; also keys with Ctrl or Command
 */
export function useKeys(onKey, { inDialog = false, withControl = false } = {}) {
  const latest = useRef(onKey);
  latest.current = onKey;
  useLayoutEffect(() => {
    const listen = (event) => {
      const meant = withControl || !(event.ctrlKey || event.metaKey);
      const here = (document.querySelector("dialog[open]") !== null) === inDialog && !(inDialog && event.defaultPrevented);
      if (meant && here && !isTyping(event) && latest.current(event)) event.preventDefault();
    };
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, []);
}

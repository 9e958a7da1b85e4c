/** A modal dialog by the browser's own element, which keeps the focus inside and gives it back. */
import { html, useId, useLayoutEffect, useRef } from "../lib/html.js";
import { Icon } from "./icons.js";
import { t } from "../lib/text.js";
import { Spoken } from "./notice.js";

/** @param {{title: string, kind?: string, tools?: any, onClose: () => void, closable?: boolean, children: any}} props */
export function Dialog({ title, kind = "", tools, onClose, closable = true, children }) {
  const element = useRef(null);
  const id = useId();
  // Before it is painted: a key that is pressed as soon as it is seen is the dialog's.
  useLayoutEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog.showModal();
    return () => {
      dialog.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);
  return html`<dialog ref=${element} class=${kind} aria-labelledby=${id}
      onCancel=${(event) => { event.preventDefault(); if (closable) onClose(); }}
      onClick=${(event) => { if (closable && event.target === element.current) onClose(); }}>
    <div class="dialog-body">
      <header class="dialog-head">
        <h2 id=${id}>${title}</h2>
        ${tools}
        ${closable && html`<button class="round" aria-label=${t("close")} onClick=${onClose}><${Icon} name="close" /></button>`}
      </header>
      ${children}
      <${Spoken} />
    </div>
  </dialog>`;
}

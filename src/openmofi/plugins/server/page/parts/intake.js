/** Takes images by drop anywhere on the page, by paste, and by choice. */
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { t } from "../lib/text.js";
import { filesOf } from "../lib/uploads.js";
import { Icon } from "./icons.js";

/** @param {{onFiles: (files: File[]) => void}} props */
export function DropAnywhere({ onFiles }) {
  const [over, setOver] = useState(false);
  const take = useRef(onFiles);
  take.current = onFiles;
  useEffect(() => {
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    const dragOver = (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const dragLeave = (event) => { if (!event.relatedTarget) setOver(false); };
    const drop = (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(false);
      take.current(filesOf(event.dataTransfer));
    };
    const paste = (event) => {
      const files = filesOf(event.clipboardData);
      if (!files.length) return;
      event.preventDefault();
      take.current(files);
    };
    const all = { dragover: dragOver, dragleave: dragLeave, drop, paste };
    Object.entries(all).forEach(([name, listener]) => addEventListener(name, listener));
    return () => Object.entries(all).forEach(([name, listener]) => removeEventListener(name, listener));
  }, []);
  return over && html`<div class="drop" aria-hidden="true"><p>${t("intake.drop")}</p></div>`;
}

/** @param {{onFiles: (files: File[]) => void}} props */
export function PickImage({ onFiles }) {
  const input = useRef(null);
  return html`<button type="button" class="button pick" onClick=${() => input.current.click()}>
      <${Icon} name="image" />${t("intake.image")}
    </button>
    <input ref=${input} type="file" accept="image/*" hidden tabindex="-1" aria-label=${t("intake.pick")} onChange=${(event) => {
      const files = [...event.currentTarget.files];
      event.currentTarget.value = "";
      if (files.length) onFiles(files);
    }} />`;
}

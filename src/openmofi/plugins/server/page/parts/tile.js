/** An image in a grid. */
import { answering, thumbnail } from "../lib/api.js";
import { title } from "../lib/format.js";
import { html, useEffect, useState } from "../lib/html.js";
import { t } from "../lib/text.js";
import { Icon } from "./icons.js";

/** @param {{image: {id: number, text: string, key: string}, onGone?: () => void}} props */
export function Thumbnail({ image, onGone }) {
  const [gone, setGone] = useState(false);
  // A server that was away may have it now.
  useEffect(() => setGone(false), [answering.value]);
  if (gone) return html`<span class="gone"><${Icon} name="image" /><span>${t("tile.gone")}</span></span>`;
  return html`<img src=${thumbnail(image)} alt="" decoding="async" draggable=${false} onError=${() => { setGone(true); onGone?.(); }} />`;
}

/**
 * @param {object} props
 * @param {any} props.image an ImageRecord
 * @param {boolean} props.active whether Tab stops at it
 * @param {string} [props.kind]
 * @param {string} [props.about] said after its text
 * @param {() => void} props.onOpen
 * @param {any} [props.children] the foot
 */
export function Tile({ image, active, kind = "", about = "", onOpen, children }) {
  return html`<div class=${`tile ${kind}`}>
    <button class="tile-open" tabindex=${active ? 0 : -1} aria-label=${`${title(image)}${about ? `, ${about}` : ""}`}
      onClick=${onOpen}><${Thumbnail} key=${image.id} image=${image} /></button>
    <div class="tile-foot">
      <p class="tile-text" title=${title(image)}>${title(image)}</p>
      ${children}
    </div>
  </div>`;
}

/** An image in a grid. */
import { thumbnail } from "../lib/api.js";
import { title } from "../lib/format.js";
import { html, useState } from "../lib/html.js";
import { Icon } from "./icons.js";

/** @param {{image: {id: number, text: string, key: string}, eager?: boolean}} props */
export function Thumbnail({ image }) {
  const [gone, setGone] = useState(false);
  if (gone) return html`<span class="gone"><${Icon} name="image" /><span>cannot be shown</span></span>`;
  return html`<img src=${thumbnail(image.id)} alt="" decoding="async" draggable=${false} onError=${() => setGone(true)} />`;
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

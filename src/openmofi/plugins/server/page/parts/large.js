/** An image as large as its stage lets it be; small ones are enlarged, and none is cropped or distorted. */
import { html, useState } from "../lib/html.js";
import { t } from "../lib/text.js";

/**
 * @param {{src: string, alt: string, width?: number, height?: number, children?: any}} props
 *   the children lie over the image
 */
export function Large({ src, alt, width = 0, height = 0, children }) {
  const [ratio, setRatio] = useState(height ? width / height : 0);
  const [gone, setGone] = useState(false);
  if (gone) return html`<p class="faint">${t("large.gone")}</p>`;
  return html`<div class="large" style=${ratio ? { "--ratio": String(ratio) } : {}}>
    <img src=${src} alt=${alt} draggable=${false} onError=${() => setGone(true)}
      onLoad=${(event) => setRatio(event.currentTarget.naturalWidth / event.currentTarget.naturalHeight)} />
    ${children}
  </div>`;
}

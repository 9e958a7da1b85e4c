/** PhotoSwipe, loaded when someone first looks closely. */
import { original, thumbnail } from "../lib/api.js";
import { title } from "../lib/format.js";
import { t } from "../lib/text.js";

/** @param {any} image an ImageRecord */
export async function lookClosely(image) {
  const { default: PhotoSwipe } = await import("photoswipe");
  const { width, height } = image.width ? image : { width: 1600, height: 1200 };
  const viewer = new PhotoSwipe({
    dataSource: [{ src: original(image.id), msrc: thumbnail(image), width, height, alt: title(image) }],
    // In the dialog that is open: what lies outside of it takes no clicks.
    appendToEl: document.querySelector("dialog[open]") ?? document.body,
    showHideAnimationType: "none", bgOpacity: 0.94, zoom: true, arrowKeys: false, maxZoomLevel: 8,
    closeTitle: t("close"), zoomTitle: t("closely.zoom"), errorMsg: t("closely.failed"),
  });
  viewer.init();
}

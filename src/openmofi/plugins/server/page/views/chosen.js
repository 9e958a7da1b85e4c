/** Images that a link or the map chooses, in a grid. */
import { api } from "../lib/api.js";
import { html, useState } from "../lib/html.js";
import { usePages } from "../lib/pages.js";
import { NOTHING, writeQuery } from "../lib/query.js";
import { go, href, leave, route } from "../lib/route.js";
import { t } from "../lib/text.js";
import { Detail } from "../parts/detail.js";
import { Grid } from "../parts/grid.js";
import { Empty, Failure, Waiting } from "../parts/notice.js";
import { Tile } from "../parts/tile.js";

/** @param {{ids: number[], picked?: boolean, onOpen: (image: any) => void}} props with `picked` all are selected at first */
export function Chosen({ ids, picked = false, onOpen }) {
  const list = usePages(async (offset, limit, signal) => {
    const asked = ids.slice(offset, offset + limit);
    const found = new Map(asked.length ? (await api.images(asked, signal)).map((image) => [image.id, image]) : []);
    return { items: asked.map((id) => found.get(id) ?? { id, key: t("chosen.gone"), text: "", labels: [] }), total: ids.length };
  }, "");
  if (list.error) return html`<${Failure} error=${list.error} retry=${() => list.retry()} />`;
  if (list.total === null) return html`<${Waiting} />`;
  return html`<${Grid} label=${t("chosen.title")} list=${list} picked=${picked ? ids : []}
    tile=${(image, place, active) => html`<${Tile} image=${image} active=${active} onOpen=${() => onOpen(image)}>
      <p class="tile-label faint">${image.labels.find((label) => label.accepted)?.name}</p><//>`} />`;
}

/** The image of an address's `show`, and how it is opened, left, and searched on with. @param {string[]} path */
export function useShown(path) {
  const [known, setKnown] = useState(null);
  const { params } = route.value;
  const show = Number(params.get("show")) || 0;
  const address = (id) => {
    const next = new URLSearchParams(route.value.params);
    if (id) next.set("show", String(id));
    else next.delete("show");
    return href(path, next);
  };
  const open = (id, image = null, replace = false) => {
    setKnown(image);
    go(address(id), replace);
  };
  const detail = show > 0 && html`<${Detail} id=${show} known=${known?.id === show ? known : null}
    onClose=${() => leave(address(0))} onStep=${(image) => open(image.id, image, true)}
    onSearch=${(example) => go(href(["search"], writeQuery({ ...NOTHING, examples: [example] })))} />`;
  return { open, detail };
}

/** What the bar's link leads to. */
export function Images() {
  const given = route.value.params.get("ids") ?? "";
  const ids = [...new Set(given.split(",").map(Number).filter((id) => Number.isInteger(id) && id > 0))];
  const { open, detail } = useShown(["images"]);
  return html`<h1>${t("images", { count: ids.length })}</h1>
    ${ids.length ? html`<${Chosen} key=${given} ids=${ids} onOpen=${(image) => open(image.id, image)} />`
      : html`<${Empty} title=${t("chosen.none")}><p><a href="#/search">${t("app.toSearch")}</a></p><//>`}
    ${detail}`;
}

/** Calls of the server. Every failure is an `ApiError` with a sentence and a hint for the user. */
import { signal } from "./html.js";
import { t } from "./text.js";

export class ApiError extends Error {
  /**
   * @param {number} status of HTTP; 0 where the server did not answer
   * @param {string} message
   * @param {string} [hint]
   * @param {string} [request] id by which the server's log knows it
   */
  constructor(status, message, hint = "", request = "") {
    super(message);
    this.status = status;
    this.hint = hint;
    this.request = request;
  }
}

/** Whether the server wants a token that this browser has not given. */
export const needsToken = signal(false);
/** Goes up when a token was taken, so that what was refused is asked again. */
export const session = signal(0);
/** Goes up when the server answers again, so that what failed meanwhile is asked again. */
export const answering = signal(0);
let away = false;

const LOOK_OUT_MS = 3000;
const KIND = {
  413: ["error.tooLarge", "error.smaller"],
  415: ["error.noImage", "error.formats"],
  429: ["error.tooMany", "error.wait"],
  503: ["error.busy", "error.wait"],
};

/**
 * @param {string} path below `api/`
 * @param {RequestInit} [options]
 * @param {(response: Response) => Promise<any>} [take] what is made of the answer; what its JSON says where not given
 */
async function call(path, options = {}, take = (response) => response.json()) {
  let response;
  try {
    response = await fetch(`api/${path}`, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    if (!away) {
      away = true;
      lookOut();
    }
    throw new ApiError(0, t("error.away"), t("error.awayHint"));
  }
  if (response.ok) return response.status === 204 ? null : take(response);
  if (response.status === 401) needsToken.value = true;
  const told = await response.json().catch(() => ({}));
  const [message, hint] = KIND[response.status] ?? ["error.status", "error.again"];
  const said = typeof told.error === "string" ? told : { error: t(message, { status: String(response.status) }), hint: t(hint) };
  throw new ApiError(response.status, said.error, said.hint ?? "", told.request_id ?? "");
}

/** Ask every few seconds whether the server is there again. */
function lookOut() {
  setTimeout(async () => {
    if (await fetch("healthz").then((response) => response.ok, () => false)) {
      away = false;
      answering.value += 1;
    } else lookOut();
  }, LOOK_OUT_MS);
}

/**
 * @param {string} method
 * @param {unknown} body
 * @param {AbortSignal} [signal]
 * @returns {RequestInit}
 */
const json = (method, body, signal) => ({
  method, signal, body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
});

/** @param {Record<string, string | number | boolean | undefined>} values */
function query(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== undefined && value !== "");
  return kept.length ? `?${new URLSearchParams(kept.map(([name, value]) => [name, String(value)]))}` : "";
}

const of = (entity) => `entities/${encodeURIComponent(entity)}`;

export const api = {
  info: () => call("info"),
  upload: (file) => call("uploads", {
    method: "POST", body: file, headers: { "Content-Type": file.type || "application/octet-stream" },
  }),
  search: (body, signal) => call("search", json("POST", body, signal)),
  facets: (body, signal) => call("facets", json("POST", body, signal)),
  map: () => call("map"),
  mapTile: (key, state, signal) => call(`map/tiles/${key}${query({ state })}`, { signal }, (response) => response.arrayBuffer()),
  mapChosen: (choice, signal) => call("map/chosen", json("POST", choice, signal)),
  mapPlaces: (ids, signal) => call("map/places", json("POST", ids, signal)),
  images: (ids, signal) => call("images", json("POST", ids, signal)),
  image: (id) => call(`images/${id}`),
  reading: (id) => call(`images/${id}/reading`),
  recogniseImage: (id, region) => call(`images/${id}/recognise${query({ region: region?.join(",") })}`),
  recogniseUpload: (upload, region) => call("recognise", json("POST", { upload, region: region && asRegion(region) })),
  entities: (values, signal) => call(`entities${query(values)}`, { signal }),
  entity: (entity) => call(of(entity)),
  entityImages: (entity, values, signal) => call(`${of(entity)}/images${query(values)}`, { signal }),
  similar: (entity) => call(`${of(entity)}/similar`),
  judge: (verdicts) => call("verdicts", json("POST", verdicts)),
  undo: (ids) => call("verdicts/undo", json("POST", ids)),
  verdicts: (values) => call(`verdicts${query(values)}`),
  imageVerdicts: (id) => call(`images/${id}/verdicts`),
  history: (values) => call(`review/history${query(values)}`),
  review: (values) => call(`review${query(values)}`),
  labelsFile: (kind, ids) => call(`labels.${kind}`, json("POST", ids), (response) => response.blob()),
  precision: (entity) => call(`review/precision${query({ entity })}`),
  signIn: async (token) => {
    await call("session", json("POST", { token }));
    needsToken.value = false;
    session.value += 1;
  },
};

/** @param {number[]} region left, top, right, bottom in fractions */
export const asRegion = ([left, top, right, bottom]) => ({ left, top, right, bottom });

/** With the digest of its bytes, where it is known, the browser keeps it for ever. @param {{id: number, content?: string}} image */
export const thumbnail = ({ id, content }) => `api/images/${id}/thumbnail${query({ of: content })}`;
export const original = (id) => `api/images/${id}/original`;

/** What is read once and used in many places: the index's info, and the names of entities. */
import { api, session } from "./api.js";
import { effect, signal } from "./html.js";

/** @type {import("@preact/signals").Signal<any>} IndexInfo, or `null` until it is there */
export const info = signal(null);
/** @type {import("@preact/signals").Signal<Error | null>} */
export const infoError = signal(null);
/** @type {import("@preact/signals").Signal<Record<string, string>>} id → name */
export const names = signal({ __proto__: null });
/** @type {import("@preact/signals").Signal<Set<string>>} identifiers that the index does not have */
export const unknown = signal(new Set());
const asked = new Set();

/** Read the info, again after every sign-in. */
export const readInfo = () => effect(() => {
  session.value;
  refresh();
});

export async function refresh() {
  try {
    info.value = await api.info();
    infoError.value = null;
  } catch (error) {
    infoError.value = error;
  }
}

/** @param {{id: string, name: string}[]} entities */
export function learn(entities) {
  const fresh = entities.filter(({ id, name }) => names.value[id] !== name);
  if (fresh.length) names.value = { __proto__: null, ...names.value, ...Object.fromEntries(fresh.map(({ id, name }) => [id, name])) };
}

/** @param {string} id an entity that only the address names */
export function wantName(id) {
  if (!id || id in names.value || asked.has(id)) return;
  asked.add(id);
  api.entity(id).then((entity) => learn([entity]), (error) => {
    if (error.status === 404) unknown.value = new Set(unknown.value).add(id);
    else asked.delete(id);
  });
}

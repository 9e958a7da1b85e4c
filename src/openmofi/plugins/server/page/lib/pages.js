/** A long list that is fetched page by page where it is looked at, and forgotten where it is not. */
import { answering } from "./api.js";
import { useEffect, useMemo, useRef, useState } from "./html.js";

const SIZE = 100;
const KEPT = 30;
const SETTLE_MS = 70;

/**
 * @template Item, About
 * @typedef {object} List
 * @property {number | null} total `null` until it is known
 * @property {About | null} about what came with the first page
 * @property {Error | null} error
 * @property {boolean} busy
 * @property {(place: number) => Item | undefined} at
 * @property {(from: number, to: number) => void} look says which places are on the screen
 * @property {() => Item[]} seen all that is held
 * @property {() => void} retry
 */

/**
 * @template Item, About
 * @param {(offset: number, limit: number, signal: AbortSignal) => Promise<{items: Item[], total: number, about?: About}>} read
 * @param {string} key when it changes, the list begins anew
 * @returns {List<Item, About>}
 */
export function usePages(read, key) {
  const [, redraw] = useState(0);
  const list = useMemo(() => new Pages(read, () => redraw((turn) => turn + 1)), [key]);
  useEffect(() => {
    list.load(0);
    return () => list.close();
  }, [list]);
  useEffect(() => { if (list.error) list.retry(); }, [answering.value]);
  // What was there stays until the new list is known, so that neither the place nor the focus is lost.
  const before = useRef(list);
  if (list.total !== null || list.error) before.current = list;
  return list === before.current ? list : Object.assign(before.current, { replaced: true });
}

class Pages {
  constructor(read, changed) {
    this.read = read;
    this.changed = changed;
    /** @type {Map<number, any[]>} by number of page; the order is that of the last look */
    this.pages = new Map();
    /** @type {Map<number, AbortController>} */
    this.coming = new Map();
    this.total = null;
    this.about = null;
    this.error = null;
    this.timer = 0;
    this.looked = [0, 0];
    this.closed = false;
    this.replaced = false;
  }

  get busy() {
    return this.replaced || this.coming.size > 0;
  }

  at(place) {
    return this.pages.get(Math.floor(place / SIZE))?.[place % SIZE];
  }

  seen() {
    return [...this.pages.entries()].sort(([a], [b]) => a - b).flatMap(([, items]) => items);
  }

  look(from, to) {
    clearTimeout(this.timer);
    this.looked = [from, to];
    const wanted = [];
    for (let page = Math.floor(from / SIZE); page <= Math.floor(Math.max(from, to - 1) / SIZE); page += 1) {
      const items = this.pages.get(page);
      if (items) {
        this.pages.delete(page);
        this.pages.set(page, items);
      } else if (this.total === null || page * SIZE < this.total) wanted.push(page);
    }
    // A list that is scrolled fast asks only for the pages at which it comes to rest.
    this.timer = setTimeout(() => {
      for (const [page, control] of this.coming) if (page && !wanted.includes(page)) control.abort();
      wanted.forEach((page) => this.load(page));
    }, SETTLE_MS);
  }

  async load(page) {
    if (this.closed || this.coming.has(page) || this.pages.has(page)) return;
    const control = new AbortController();
    this.coming.set(page, control);
    try {
      const answer = await this.read(page * SIZE, SIZE, control.signal);
      if (this.closed) return;
      this.pages.set(page, answer.items);
      this.error = null;
      if (page === 0 || this.total === null) {
        this.total = answer.total;
        this.about = answer.about ?? null;
      }
      while (this.pages.size > KEPT) this.pages.delete(this.pages.keys().next().value);
    } catch (error) {
      if (error.name !== "AbortError") this.error = error;
    } finally {
      this.coming.delete(page);
      if (!this.closed) this.changed();
    }
  }

  retry() {
    this.error = null;
    this.changed();
    if (this.total === null) this.load(0);
    else this.look(...this.looked);
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.coming.forEach((control) => control.abort());
  }
}

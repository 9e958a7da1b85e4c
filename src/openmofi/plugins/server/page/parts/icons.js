/** Line icons, drawn on a 24-pixel square; they are decoration, the control that holds one has the name. */
import { html } from "../lib/html.js";

const PATHS = {
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5 21 21",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
  close: "M6 6l12 12M18 6 6 18",
  up: "M7 11v9H4v-9zM7 11l4-8c1.7 0 3 1 3 3v3h5.5c1 0 1.7 1 1.5 2l-1.4 7c-.2 1.200-1 2-2.100 2H7",
  down: "M17 13V4h3v9zM17 13l-4 8c-1.700 0-3-1-3-3v-3H4.500c-1 0-1.700-1-1.500-2l1.400-7c.2-1.200 1-2 2.100-2H17",
  crop: "M6 2v16h16M2 6h16v16",
  closer: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  filter: "M4 6h16M7 12h10M10 18h4",
  undo: "M4 9h11a5 5 0 0 1 0 10h-4M4 9l4-4M4 9l4 4",
  check: "M5 13l4 4L19 7",
  question: "M9 9a3 3 0 1 1 4 2.800c-.7.3-1 .9-1 1.700M12 17.500h.01",
  lasso: "M7 15c-6-3-3-11 5-11s11 7 5 10-13 0-10 3M7 15c3 2 1 5-2 6",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  keys: "M3 7h18v10H3zM7 10.500h.01M11 10.500h.01M15 10.500h.01M8 14h8",
  link: "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
  plus: "M12 5v14M5 12h14",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 5a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM9 15a2 2 0 1 0 0 4 2 2 0 0 0 0-4z",
  tag: "M4 4h8l8 8-8 8-8-8zM8.500 8.500h.01",
};

/** @param {{name: keyof PATHS}} props */
export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;

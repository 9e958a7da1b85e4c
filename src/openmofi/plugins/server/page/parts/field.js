/** A line of text that counts when it is left or entered. What is rendered meanwhile leaves alone what is being typed. */
import { html, useEffect, useState } from "../lib/html.js";

/** @param {{value: string, onValue: (value: string) => void}} props and an input's own */
export function TextField({ value, onValue, ...more }) {
  const [typed, setTyped] = useState(null);
  useEffect(() => setTyped(null), [value]);
  return html`<input type="text" value=${typed ?? value} ...${more} onInput=${(event) => setTyped(event.currentTarget.value)}
    onChange=${(event) => onValue(event.currentTarget.value.trim())} />`;
}

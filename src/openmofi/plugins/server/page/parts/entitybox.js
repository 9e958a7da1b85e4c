/** A text field that completes entities while one types (the combobox of the ARIA Authoring Practices). */
import { api } from "../lib/api.js";
import { described } from "../lib/format.js";
import { html, useEffect, useId, useLayoutEffect, useRef, useState } from "../lib/html.js";
import { t } from "../lib/text.js";

const PAUSE_MS = 130;
const MOST = 8;

/**
 * The alias that was typed, where an entity's own name does not say why it is offered.
 * @param {{name: string, aliases: string[]}} entity
 * @param {string} text
 */
function via({ name, aliases }, text) {
  const begins = (each) => ` ${each.toLowerCase()}`.includes(` ${text.trim().toLowerCase()}`);
  return begins(name) ? "" : aliases.find(begins) ?? "";
}

/**
 * @param {object} props
 * @param {string} props.label
 * @param {string} [props.placeholder]
 * @param {string} [props.value] the text at first
 * @param {(entity: any) => void} props.onEntity an entity was chosen
 * @param {(text: string) => void} [props.onText] Enter on the text itself; without it only entities are taken
 * @param {(text: string) => void} [props.onInput]
 * @param {boolean} [props.focused]
 */
export function EntityBox({ label, placeholder = "", value = "", onEntity, onText, onInput, focused = false }) {
  const [text, setText] = useState(value);
  const [options, setOptions] = useState([]);
  const [open, setOpen] = useState(false);
  const [chosen, setChosen] = useState(-1);
  const field = useRef(null);
  const id = useId();
  // Before the next key: an effect that waits for the screen would undo what is typed meanwhile.
  useLayoutEffect(() => { setText(value); }, [value]);
  useLayoutEffect(() => { if (focused) field.current.focus(); }, []);
  useEffect(() => {
    const prefix = text.trim();
    setChosen(-1);
    if (!open || prefix.length < 2) return setOptions([]);
    const control = new AbortController();
    const timer = setTimeout(async () => {
      try {
        setOptions((await api.entities({ prefix, limit: MOST }, control.signal)));
      } catch {
        setOptions([]); // completion is a help: the search itself says what is wrong
      }
    }, PAUSE_MS);
    return () => { clearTimeout(timer); control.abort(); };
  }, [text, open]);

  const take = (entity) => {
    setOpen(false);
    setText("");
    onInput?.("");
    onEntity(entity);
  };
  const onKeyDown = (event) => {
    event.stopPropagation();
    const count = options.length;
    if (count && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      // From −1, the text itself, through the options and round.
      const step = event.key === "ArrowDown" ? 1 : -1;
      setChosen((old) => ((old + 1 + step + count + 1) % (count + 1)) - 1);
    } else if (event.key === "Escape" && open && count) {
      event.preventDefault();
      setOpen(false);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (open && chosen >= 0) take(options[chosen]);
      else if (onText) {
        setOpen(false);
        onText(text.trim());
      }
    }
  };
  const shown = open && options.length > 0;
  return html`<div class="combobox" onFocusOut=${(event) => {
    if (!event.currentTarget.contains(event.relatedTarget)) setOpen(false);
  }}>
    <input ref=${field} type="text" role="combobox" aria-label=${label} placeholder=${placeholder} value=${text}
      autocomplete="off" spellcheck=${false} aria-autocomplete="list" aria-expanded=${shown ? "true" : "false"}
      aria-controls=${`${id}-list`} aria-activedescendant=${shown && chosen >= 0 ? `${id}-${chosen}` : undefined}
      onInput=${(event) => { setText(event.currentTarget.value); setOpen(true); onInput?.(event.currentTarget.value); }}
      onKeyDown=${onKeyDown} />
    <ul id=${`${id}-list`} role="listbox" aria-label=${t("view.entities")} class="options" hidden=${!shown}>
      ${options.map((entity, place) => html`<li key=${entity.id} id=${`${id}-${place}`} role="option"
          aria-selected=${place === chosen ? "true" : "false"} tabindex="-1"
          onPointerDown=${(event) => event.preventDefault()} onClick=${() => take(entity)}>
        <span class="option-name">${entity.name}</span>
        <span class="option-about">${[via(entity, text), described(entity)].filter(Boolean).join(" · ")}</span>
        <span class="option-count">${entity.images > 0 && t("images", { count: entity.images })}</span>
      </li>`)}
    </ul>
  </div>`;
}

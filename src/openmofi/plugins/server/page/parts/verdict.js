/** What people said of an image's labels, and the buttons that say it. */
import { api } from "../lib/api.js";
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { reviewer } from "../views/review/reviewer.js";
import { judge, takeBack } from "../views/review/verdicts.js";
import { t } from "../lib/text.js";
import { Icon } from "./icons.js";
import { say } from "./notice.js";

const WORDS = { y: "said.right", n: "said.wrong", u: "said.unsure" };
/** What a verdict says, in a word; "" for none. @param {string} [verdict] */
export const wordOf = (verdict) => WORDS[verdict] ? t(WORDS[verdict]) : "";

/**
 * @typedef {object} Verdicts
 * @property {Map<string, any>} said entity → its last verdict
 * @property {(entity: {id: string, name: string}, value: "y" | "n", toggle?: boolean) => Promise<void>} give a verdict;
 *   where it is the reviewer's own last one, it is taken back
 * @property {Error | null} error
 */

/** @param {any} image an ImageRecord; another one takes another component @returns {Verdicts} */
export function useVerdicts(image) {
  const [said, setSaid] = useState(new Map());
  const [error, setError] = useState(null);
  const reads = useRef(0);
  const read = async () => {
    const nth = reads.current += 1;
    const rows = await api.imageVerdicts(image.id);
    if (nth === reads.current) setSaid(new Map(rows.reverse().map((verdict) => [verdict.entity, verdict])));
  };
  const attempt = async (act) => {
    try {
      await act();
      setError(null);
    } catch (failed) {
      setError(failed);
    }
  };
  // What it reads at first may come after a verdict was refused: it takes nothing back.
  useEffect(() => { read().catch(setError); }, []);
  const give = (entity, value, toggle = true) => attempt(async () => {
    const before = said.get(entity.id);
    const again = before?.verdict === value && before.who === reviewer.value;
    if (again && !toggle) return;
    if (again) await takeBack([before.id]);
    else await judge([{ image, entity: entity.id, value }]);
    await read();
    say(again ? t("verdict.undone", { name: entity.name }) : t("verdict.given", { name: entity.name, said: wordOf(value) }));
  });
  return { said, give, error };
}

/** @param {{entity: {id: string, name: string}, verdicts: Verdicts}} props */
export function VerdictButtons({ entity, verdicts }) {
  const given = verdicts.said.get(entity.id);
  const title = (said, who) => who ? t("verdict.sameBy", { said, who }) : t("verdict.same", { said });
  const button = (value, kind, icon) => html`<button type="button" class=${`thumb ${kind}`}
    aria-pressed=${given?.verdict === value} aria-label=${t("verdict.is", { name: entity.name, said: wordOf(value) })}
    title=${given?.verdict === value ? title(wordOf(value), given.who) : wordOf(value)} onClick=${() => verdicts.give(entity, value)}><${Icon} name=${icon} /></button>`;
  return html`<span class="thumbs" role="group" aria-label=${t("verdict.ask", { name: entity.name })}>
    ${given?.verdict === "u" && html`<span class="said u">${wordOf("u")}</span>`}
    ${button("y", "more", "check")}${button("n", "less", "close")}</span>`;
}

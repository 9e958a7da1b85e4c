/** Search: by image, text and entity; the query is in the address. */
import { html, useEffect, useLayoutEffect, useState } from "../lib/html.js";
import { info, learn, names, wantName } from "../lib/known.js";
import { readQuery, writeQuery } from "../lib/query.js";
import { go, href, leave, route } from "../lib/route.js";
import { t } from "../lib/text.js";
import { upload } from "../lib/uploads.js";
import { EntityBox } from "../parts/entitybox.js";
import { Icon } from "../parts/icons.js";
import { DropAnywhere, PickImage } from "../parts/intake.js";
import { Later } from "../parts/later.js";
import { Failure, say } from "../parts/notice.js";
import { QueryChips } from "./examples.js";
import { Results } from "./results.js";

const MOST_EXAMPLES = 16;

export function Search() {
  const { params } = route.value;
  const query = readQuery(params);
  const [typed, setTyped] = useState(query.text);
  const [refused, setRefused] = useState(null);
  const [sending, setSending] = useState(false);
  const [opened, setOpened] = useState(null);
  const [narrowing, setNarrowing] = useState(false);
  useLayoutEffect(() => { setTyped(query.text); }, [query.text]);
  useEffect(() => { wantName(query.entity); wantName(query.filters.entity ?? ""); }, [query.entity, query.filters.entity]);

  const ask = (next, replace = false) => {
    setRefused(null);
    if (!replace) scrollTo(0, 0);
    go(href(["search"], writeQuery(next)), replace);
  };
  const take = async (files) => {
    setRefused(null);
    setSending(true);
    say(`${t("search.sending")}.`);
    try {
      const tokens = [];
      for (const file of files.slice(0, MOST_EXAMPLES - query.examples.length)) {
        tokens.push(await upload(file, info.value?.max_upload_bytes));
      }
      const now = readQuery(route.value.params);
      const given = tokens.map((token) => ({ upload: token, weight: 1, region: null }));
      ask({ ...now, examples: [...now.examples, ...given], more: [], less: [] });
    } catch (error) {
      setRefused(error);
    } finally {
      setSending(false);
    }
  };
  const show = Number(params.get("show")) || 0;
  const open = (image, replace = false) => {
    setOpened(image);
    const next = new URLSearchParams(params);
    next.set("show", String(image.id));
    go(href(["search"], next), replace);
  };
  const close = () => {
    const next = new URLSearchParams(route.value.params);
    next.delete("show");
    leave(href(["search"], next));
  };
  const fresh = { ...query, more: [], less: [], words: false };
  const set = Object.values(query.filters).filter(Boolean).length;
  const plain = !params.toString();
  return html`
    <h1 class="unseen">${t("view.search")}</h1>
    <${DropAnywhere} onFiles=${take} />
    <form class="search-box" role="search" onSubmit=${(event) => { event.preventDefault(); ask({ ...fresh, text: typed.trim() }); }}>
      <span class="search-field"><${Icon} name="search" />
        <${EntityBox} label=${t("search.label")} placeholder=${t("search.placeholder")} value=${query.text}
          onInput=${setTyped} onText=${(text) => ask({ ...fresh, text })}
          onEntity=${(entity) => { learn([entity]); ask({ ...fresh, text: "", entity: entity.id }); }} /></span>
      <${PickImage} onFiles=${take} />
      <button class="button main" type="submit">${t("search.go")}</button>
      <button type="button" class="button" aria-expanded=${narrowing} aria-controls="filters" onClick=${() => setNarrowing(!narrowing)}>
        <${Icon} name="filter" />${t("filters")}${set > 0 && html`<span class="badge">${set}</span>`}</button>
    </form>
    <${QueryChips} query=${query} names=${names.value} onQuery=${(next) => ask(next, true)} />
    ${sending && html`<p class="waiting" role="status">${t("search.sending")} …</p>`}
    ${refused && html`<${Failure} error=${refused} />`}
    ${plain && !refused && html`<p class="hint">${t("search.hint")}</p>`}
    <div class=${narrowing ? "railed" : ""}>
      ${narrowing && html`<${Later} of="Rail" query=${query} columns=${info.value?.columns ?? []}
        onFilters=${(filters) => ask({ ...query, filters })} />`}
      <div><${Results} query=${query} onQuery=${(next) => ask(next)} onRefine=${(next) => ask(next, true)} onOpen=${open} /></div>
    </div>
    ${show > 0 && html`<${Later} of="Detail" id=${show} known=${opened?.id === show ? opened : null} onClose=${close} onStep=${(image) => open(image, true)}
      onSearch=${(example) => ask({ ...fresh, text: "", entity: "", examples: [example] })} />`}`;
}

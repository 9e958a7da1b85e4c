/** The page of `openmofi serve`: a head, one of the views, and the request for a token. */
import icon from "./icon.svg";
import { api, needsToken, session } from "./lib/api.js";
import { html, render, useEffect, useRef, useState } from "./lib/html.js";
import { info, infoError, names, readInfo, refresh } from "./lib/known.js";
import { counted } from "./lib/format.js";
import { route, scrolled } from "./lib/route.js";
import { Dialog } from "./parts/dialog.js";
import { Later } from "./parts/later.js";
import { Empty, Failure, Spoken } from "./parts/notice.js";
import { Search } from "./views/search.js";

const LATER = { entities: "Entities", entity: "Entity", review: "Review", map: "MapView", images: "Images" };
const TITLES = { search: "Search", entities: "Entities", entity: "Entity", review: "Review", map: "Map", images: "Images" };
const LINKS = [["search", "Search"], ["entities", "Entities"], ["review", "Review"], ["map", "Map"]];

function App() {
  const { view, rest, params } = route.value;
  const main = useRef(null);
  const first = useRef(true);
  const place = `${view}/${rest.join("/")}`;
  const entity = params.get("entity") ?? { entity: rest[0], review: rest[1] }[view] ?? "";
  const subject = params.get("text") || names.value[entity] || entity;
  useEffect(() => {
    if (!first.current) {
      main.current.focus({ preventScroll: true });
      if (!scrolled.y) scrollTo(0, 0);
    }
    first.current = false;
  }, [place]);
  useEffect(() => { document.title = [...new Set([subject, TITLES[view] ?? "Not found", "OpenMOFI"])].filter(Boolean).join(" · "); });
  const current = view === "entity" ? "entities" : view;
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>To the content</a>
    <header class="top"><div class="top-row">
      <a class="brand" href="#/search"><img src=${icon} alt="" width="26" height="26" /><span>OpenMOFI</span></a>
      <nav aria-label="Views">${LINKS.map(([name, label]) => html`<a key=${name} href=${`#/${name}`}
        aria-current=${name === current ? "page" : undefined}>${label}</a>`)}</nav>
      ${info.value && html`<p class="index-size">${counted(info.value.images, "image")}, ${counted(info.value.entities, "entity", "entities")}</p>`}
    </div></header>
    <main id="main" ref=${main} tabindex="-1">
      ${infoError.value && !info.value ? html`<h1 class="unseen">OpenMOFI</h1><${Failure} error=${infoError.value} retry=${refresh} />` : html`<${View} key=${session.value} />`}
    </main>
    <${Spoken} />
    ${needsToken.value && html`<${TokenDialog} />`}`;
}

function View() {
  const { view, rest } = route.value;
  if (view === "search") return html`<${Search} key=${rest[0]} />`;
  return Object.hasOwn(LATER, view) ? html`<${Later} key=${`${view}/${view === "review" ? "" : rest[0]}`} of=${LATER[view]} />`
    : html`<h1 class="unseen">Not found</h1><${Empty} title="There is no such view"><p><a href="#/search">Go to the search</a></p><//>`;
}

function TokenDialog() {
  const [error, setError] = useState(null);
  const field = useRef(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      await api.signIn(field.current.value.trim());
    } catch (failed) {
      setError(failed);
    }
  };
  return html`<${Dialog} title="This server asks for its token" closable=${false} onClose=${() => {}}>
    <form class="token" onSubmit=${submit}>
      <p>It is in the address that openmofi serve printed; whoever started the server has it.</p>
      <label class="field"><span>Token</span><input ref=${field} type="password" autocomplete="current-password" required
        aria-describedby="token-error" /></label>
      <p id="token-error" class="error-text" role="alert">${error && `${error.message} ${error.hint}`}</p>
      <button class="button main" type="submit">Continue</button>
    </form><//>`;
}

readInfo();
render(html`<${App} />`, document.getElementById("app"));

/** The page of `openmofi serve`: a head, one of the views, and the request for a token. */
import icon from "./icon.svg";
import { api, needsToken, session } from "./lib/api.js";
import { html, render, useEffect, useRef, useState } from "./lib/html.js";
import { info, infoError, names, readInfo, refresh } from "./lib/known.js";
import { route, scrolled } from "./lib/route.js";
import { settings } from "./lib/settings.js";
import { speak, t } from "./lib/text.js";
import { Dialog } from "./parts/dialog.js";
import { Icon } from "./parts/icons.js";
import { Later } from "./parts/later.js";
import { Empty, Failure, Spoken } from "./parts/notice.js";
import { Settings } from "./parts/settings.js";
import { Search } from "./views/search.js";

const LATER = { entities: "Entities", entity: "Entity", review: "Review", map: "MapView", images: "Images" };
const TITLES = { search: "view.search", entities: "view.entities", entity: "view.entity", review: "view.review", map: "view.map", images: "view.images" };
const TABLE_MS = 1000;
const LINKS = ["search", "entities", "review", "map"];

function App() {
  const { view, rest, params } = route.value;
  const main = useRef(null);
  const first = useRef(true);
  const [setting, setSetting] = useState(false);
  const place = `${view}/${rest.join("/")}`;
  const entity = params.get("entity") ?? (view === "entity" ? rest[0] : view === "review" ? rest[1] : "") ?? "";
  const subject = params.get("text") || names.value[entity] || entity;
  useEffect(() => {
    if (!first.current) {
      main.current.focus({ preventScroll: true });
      if (!scrolled.y) scrollTo(0, 0);
    }
    first.current = false;
  }, [place]);
  useEffect(() => { document.title = [...new Set([subject, t(Object.hasOwn(TITLES, view) ? TITLES[view] : "view.missing"), "OpenMOFI"])].filter(Boolean).join(" · "); });
  const current = view === "entity" ? "entities" : view;
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>${t("app.skip")}</a>
    <header class="top"><div class="top-row">
      <a class="brand" href="#/search"><img src=${icon} alt="" width="26" height="26" /><span>OpenMOFI</span></a>
      <nav aria-label=${t("app.views")}>${LINKS.map((name) => html`<a key=${name} href=${`#/${name}`}
        aria-current=${name === current ? "page" : undefined}>${t(TITLES[name])}</a>`)}</nav>
      ${info.value && html`<p class="index-size">${t("images", { count: info.value.images })}, ${t("entities", { count: info.value.entities })}</p>`}
      <button type="button" class="round" aria-label=${t("settings.title")} title=${t("settings.title")} aria-haspopup="dialog"
        onClick=${() => setSetting(true)}><${Icon} name="settings" /></button>
    </div></header>
    <main id="main" ref=${main} tabindex="-1">
      ${infoError.value && !info.value ? html`<h1 class="unseen">OpenMOFI</h1><${Failure} error=${infoError.value} retry=${refresh} />` : html`<${View} key=${session.value} />`}
    </main>
    <${Spoken} />
    ${setting && html`<${Settings} onClose=${() => setSetting(false)} />`}
    ${needsToken.value && html`<${TokenDialog} />`}`;
}

function View() {
  const { view, rest } = route.value;
  if (view === "search") return html`<${Search} key=${rest[0]} />`;
  return Object.hasOwn(LATER, view) ? html`<${Later} key=${`${view}/${view === "review" ? "" : rest[0]}`} of=${LATER[view]} />`
    : html`<h1 class="unseen">${t("view.missing")}</h1><${Empty} title=${t("app.noView")}><p><a href="#/search">${t("app.toSearch")}</a></p><//>`;
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
  return html`<${Dialog} title=${t("token.title")} closable=${false} onClose=${() => {}}>
    <form class="token" onSubmit=${submit}>
      <p>${t("token.where")}</p>
      <label class="field"><span>${t("token.name")}</span><input ref=${field} type="password" autocomplete="current-password" required
        aria-describedby="token-error" /></label>
      <p id="token-error" class="error-text" role="alert">${error && `${error.message} ${error.hint}`}</p>
      <button class="button main" type="submit">${t("token.continue")}</button>
    </form><//>`;
}

readInfo();
// Where the table cannot be fetched, the page speaks English; where it is slow, until it comes.
await Promise.race([speak(settings.value.language).catch(() => {}), new Promise((resolve) => { setTimeout(resolve, TABLE_MS); })]);
render(html`<${App} />`, document.getElementById("app"));

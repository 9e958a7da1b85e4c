"""Every view in German: axe finds nothing, none is wider than 360 pixels, and no English word of the table is left."""

import json
import re
from pathlib import Path

import pytest
from page_world import FakeSearch
from search_world import COLOURS
from test_access import VIEWS, violations

pytestmark = pytest.mark.slow
STRINGS = Path(__file__).parents[4] / "src" / "openmofi" / "plugins" / "server" / "page" / "lib" / "strings"
# What the server says, and texts of the index; what is left of the index are words of its own.
FOREIGN = ".failure, .note, .why, .caption, .tile-text, .facts dd, .map-name"
OWN = {*COLOURS, "the", "colour", "square", "number", "first", "second", "album", "date", "document", "title", "bold"}
READ = """foreign => {
  const inside = document.querySelector("dialog[open]") ?? document.body;
  const texts = [document.title];
  const walker = document.createTreeWalker(inside, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    if (!walker.currentNode.parentElement.closest(`noscript, ${foreign}`)) texts.push(walker.currentNode.data);
  }
  const names = ["aria-label", "aria-roledescription", "title", "placeholder", "alt"];
  for (const each of inside.querySelectorAll("*")) {
    if (!each.closest(foreign)) texts.push(...names.map((name) => each.getAttribute(name)).filter(Boolean));
  }
  return texts;
}"""


def words(text):
    return set(re.findall(r"[^\W\d_]{2,}", re.sub(r"\{\w+\}|\b[A-Z]{2,}\b", " ", text).lower()))


@pytest.fixture(scope="module")
def english():
    """Words of the English table alone."""
    own, other = (
        words(" ".join(each if isinstance(each, str) else " ".join(each.values()) for each in table.values()))
        for table in (json.loads((STRINGS / f"{name}.json").read_text("utf-8")) for name in ("en", "de"))
    )
    return own - other - OWN


@pytest.fixture(scope="module", autouse=True)
def mapped(index):
    index.make_map()


def stirred(page, name):
    """Open what a view only shows when it is asked for."""
    if name == "search":
        page.locator("[aria-controls=filters]").click()
        page.wait_for_selector(".facet-value")
        page.locator(".search-field input").press_sequentially("re")
        page.wait_for_selector("[role=option]")
    if name == "image":
        page.locator(".about .actions .button").nth(1).click()
        page.locator(".about .actions .button").nth(3).click()
        page.wait_for_selector(".recognition li")
        page.locator(".label-list ~ .actions .button").click()
        if page.viewport_size["width"] > 760:
            page.locator(".steps .round").last.click()
    if name == "entity":
        page.locator(".pick-tile").first.check(force=True)
        page.locator(".selection .button:has(.icon)").nth(2).click()
        page.wait_for_selector(".selection .combobox")
    if name == "grid":
        page.locator(".judge").first.click()
    return page


@pytest.mark.parametrize("width", [360, 1200])
def test_german(new_tab, english, width):
    from axe_playwright_python.sync_playwright import Axe

    assert {"search", "images", "wrong", "settings"} <= english
    tab = new_tab(locale="de-DE", viewport={"width": width, "height": 800})
    faults, seen = {}, set()
    views = {**VIEWS, "settings": ("#/review", ".entity-card"), "bar": ("#/search?text=x", ".bar-line")}
    for name, (where, wait) in views.items():
        if name == "bar":
            FakeSearch(total=400, right=20).on(tab.page)
        page = stirred(tab.open(where, wait), name)
        if name == "settings":
            page.locator(".top .round").click()
            page.wait_for_selector("dialog[open]")
        # What is made up for the bar has English names.
        texts = page.evaluate(READ, f"{FOREIGN}, [role=listitem]" if name == "bar" else FOREIGN)
        seen |= words(" ".join(texts))
        faults[name] = [text for text in texts if words(text) & english]
        inside = "dialog[open]" if name in ("image", "settings") else "html"
        if page.evaluate(f"(e => e.scrollWidth > e.clientWidth)(document.querySelector('{inside}'))"):
            faults[name].append("wide")
        if page.locator(".top").bounding_box()["height"] > 60:  # a word of its links would be broken
            faults[name].append("tall")
        faults[name] += violations(Axe().run(page, options={"resultTypes": ["violations"]}))
    assert faults == {name: [] for name in views}
    assert {"suche", "bilder", "wahrscheinlichkeit", "prüfung", "einstellungen"} <= seen

"""axe finds nothing in any view, light and dark; no view is wider than 360 pixels; what Tab reaches, what is said."""

import re

import pytest
from page_world import FakeSearch
from playwright.sync_api import expect

pytestmark = pytest.mark.slow
VIEWS = {
    "search": ("#/search", ".tile-text"),
    "query": ("#/search?entity=c%3Ared&image=2*-1%400.1,0.1,0.5,0.5&more=1", ".tile-text"),
    "image": ("#/search?show=1", "dialog .facts"),
    "entities": ("#/entities", ".entity-card"),
    "entity": ("#/entity/c%3Ared", ".tile-text"),
    "review": ("#/review", ".entity-card"),
    "grid": ("#/review/grid/c%3Agrey", ".judge"),
    "single": ("#/review/single/c%3Agrey", ".single .chips kbd"),
    "history": ("#/review/history", ".history li, .notice"),
    "images": ("#/images?ids=1%2C2%2C3", ".tile-text"),
    "map": ("#/map?area=0", ".tile-text"),
    "nothing": ("#/search?f.type=animal", ".notice"),
    "error": ("#/entity/Q0", ".failure"),
}


@pytest.fixture(scope="module", autouse=True)
def mapped(index):
    index.make_map()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(new_tab, scheme):
    from axe_playwright_python.sync_playwright import Axe

    # Between light and dark only colours differ.
    options = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    tab = new_tab(color_scheme=scheme)
    found = {}
    for name, (where, wait) in VIEWS.items():
        page = tab.open(where, wait)
        if name == "search":
            page.get_by_role("button", name="Filters").click()
            page.wait_for_selector(".facet-value")
            page.get_by_role("combobox", name="Search images").press_sequentially("re")
            page.wait_for_selector("[role=option]")
        if name == "image":
            page.get_by_role("button", name="Select a region").click()
            page.get_by_role("button", name="Recognise").click()
            page.wait_for_selector(".recognition li")
            page.get_by_role("button", name="Add a label").click()
            page.get_by_role("button", name="Keys").click()
        if name == "entity":
            page.locator(".pick-tile").first.check()
            page.get_by_role("button", name="Label as").click()
        if name == "grid":
            page.locator(".judge").first.click()
        found[name] = violations(Axe().run(page, options=options))
    FakeSearch(total=400, right=20, note="A note.").on(tab.page)
    found["bar"] = violations(Axe().run(tab.open("#/search?text=x", ".bar-line"), options=options))
    assert found == {name: [] for name in found}


def violations(results):
    return [
        (each["id"], node["target"], node.get("any") and node["any"][0]["message"])
        for each in results.response["violations"]
        for node in each["nodes"]
    ]


def test_no_view_scrolls_sideways_on_a_phone(new_tab):
    tab = new_tab(viewport={"width": 360, "height": 740})
    wide = []
    for name, (where, wait) in VIEWS.items():
        page = tab.open(where, wait)
        inside = "dialog[open]" if name == "image" else "html"
        if page.evaluate(f"(e => e.scrollWidth > e.clientWidth)(document.querySelector('{inside}'))"):
            wide.append(name)
    FakeSearch(total=400, right=20).on(tab.page)
    page = tab.open("#/search?text=x", ".bar-line")
    page.locator(".grid-bar").scroll_into_view_if_needed()
    bar, below = page.locator(".bar-line > div").bounding_box(), page.locator(".tile.beyond").first.bounding_box()
    assert bar["y"] + bar["height"] <= below["y"]
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert wide == []


def test_tab_goes_from_the_head_to_the_content(tab):
    page = tab.open("#/search", ".tile-text")
    seen = []
    for _ in range(11):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("(e => e.getAttribute('aria-label') || e.innerText)(document.activeElement)").strip())
    assert seen == [
        "To the content",
        "OpenMOFI",
        "Search",
        "Entities",
        "Review",
        "Map",
        "Settings",
        "Search images",
        "Image",
        "Search",
        "Filters",
    ]


def test_results_are_announced(tab, whole):
    page = tab.open("#/search?text=square", ".tile-text")
    expect(page.locator("#app > [role=status]")).to_contain_text(whole)
    page = tab.open("#/search?text=red", ".tile-text")
    expect(page.locator("#app > [role=status]")).to_have_text(re.compile(r"^[1-9]\d* likely\.$"))

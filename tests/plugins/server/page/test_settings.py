"""Theme, tile size and language: applied before the first paint, kept in the browser, reached by keys."""

import json
import time

import pytest
from page_world import FakeSearch, wait_for, wait_until
from playwright.sync_api import expect

pytestmark = pytest.mark.slow
THEME = "document.documentElement.dataset.theme"
BACK = "getComputedStyle(document.body).backgroundColor"
LIGHT, DARK = "rgb(246, 247, 247)", "rgb(18, 23, 26)"
PLACE = "openmofi.settings"


def settings(page, name="Settings"):
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_selector("dialog[open]")
    return page.get_by_role("dialog", name=name)


def choose(page, option):
    page.get_by_role("dialog").get_by_role("radio", name=option, exact=True).check(force=True)


def kept(text):
    """A script; a page that is not yet the server's has no storage."""
    return f"if (location.protocol === 'http:') localStorage.setItem('{PLACE}', {json.dumps(text)});"


def test_the_theme_is_the_systems_until_another_is_chosen(new_tab):
    page = new_tab(color_scheme="light").open("#/search", ".tile-text")
    assert (page.evaluate(THEME), page.evaluate(BACK)) == ("light", LIGHT)
    page.emulate_media(color_scheme="dark")
    wait_until(page, f"{THEME} === 'dark' && {BACK} === '{DARK}'")
    settings(page)
    choose(page, "Light")
    assert (page.evaluate(THEME), page.evaluate(BACK)) == ("light", LIGHT)
    page.reload()
    page.wait_for_selector(".tile-text")
    assert (page.evaluate(THEME), page.evaluate(BACK)) == ("light", LIGHT)
    settings(page)
    choose(page, "As the system")
    assert page.evaluate(BACK) == DARK


def test_the_first_frame_has_the_chosen_theme(new_tab):
    """Browsers run no callback of `requestAnimationFrame` before what blocks rendering is there."""
    tab = new_tab(color_scheme="light")
    tab.page.add_init_script(
        kept('{"theme": "dark"}') + f"requestAnimationFrame(() => {{ window.firstFrame = {THEME} ?? 'none'; }})"
    )

    def late(route):
        time.sleep(0.5)
        route.continue_()

    tab.page.route("**/static/*.js", late)
    page = tab.open("#/search", ".tile-text")
    assert (page.evaluate("window.firstFrame"), page.evaluate(BACK)) == ("dark", DARK)


def test_the_map_is_drawn_anew_in_the_colours_of_the_theme(new_tab, index):
    index.make_map()
    page = new_tab(color_scheme="light").open("#/map", "canvas[data-drawn]")
    seen = """colour => { const { width, height, ...canvas } = document.querySelector("canvas");
      const { data } = document.querySelector("canvas").getContext("2d").getImageData(0, 0, width, height);
      for (let at = 0; at < data.length; at += 4) if (String(data.slice(at, at + 3)) === colour) return true;
      return false; }"""
    wait_until(page, seen, "187,119,85")
    settings(page)
    choose(page, "Dark")
    wait_until(page, seen, "255,119,255")
    assert not page.evaluate(seen, "187,119,85")


def test_tiles_are_small_medium_or_large_and_what_was_at_the_top_stays(new_tab):
    tab = new_tab()
    FakeSearch(total=5000, right=0).on(tab.page)
    page = tab.open("#/search?text=x", ".tile-text")
    width = "document.querySelector('.tile-slot')?.getBoundingClientRect().width"
    medium = page.evaluate(width)
    page.evaluate("scrollTo(0, 20000)")
    first = """[...document.querySelectorAll('[data-place]')]
      .map((tile) => [tile.getBoundingClientRect(), Number(tile.dataset.place)])
      .filter(([box]) => box.bottom > 60).sort(([a], [b]) => a.top - b.top || a.left - b.left)[0]?.[1]"""
    wait_until(page, f"{first} > 100")
    place = page.evaluate(first)
    settings(page)
    choose(page, "Large")
    wait_until(page, f"{width} > {medium * 1.3}")
    columns = round(page.evaluate("document.querySelector('.grid-frame').clientWidth") / page.evaluate(width))
    wait_until(page, f"Math.abs({first} - {place}) <= {2 * columns}")
    choose(page, "Small")
    wait_until(page, f"{width} < {medium * 0.75}")
    page.reload()
    page.wait_for_selector(".tile-slot")
    assert page.evaluate(width) < medium * 0.75
    page = tab.open("#/review/grid/c%3Agreen", ".judge")
    assert page.locator(".judge").first.bounding_box()["width"] < 125


@pytest.mark.parametrize(("tiles", "columns"), [("small", 3), ("", 2), ("large", 1)])
def test_tiles_on_a_phone(new_tab, tiles, columns):
    tab = new_tab(viewport={"width": 360, "height": 740})
    tab.page.add_init_script(kept(f'{{"tiles": "{tiles}"}}'))
    FakeSearch(total=400, right=20).on(tab.page)
    page = tab.open("#/search?text=x", ".tile-slot .probability")
    tops = [box["y"] for box in (each.bounding_box() for each in page.locator(".tile-slot").all()[:8])]
    assert tops.count(tops[0]) == columns
    inside, apart = page.locator(".tile-foot").first.evaluate("""foot => {
      const parts = [...foot.querySelectorAll(".probability .figure, button")];
      const boxes = parts.map((each) => each.getBoundingClientRect());
      const { right, bottom } = foot.closest(".tile").getBoundingClientRect();
      const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
      return [boxes.every((box) => box.right <= right && box.bottom <= bottom),
        boxes.every((a, place) => boxes.slice(place + 1).every((b) => !meet(a, b)))];
    }""")
    assert (inside, apart) == (True, True)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_settings_are_reached_by_keys_and_give_the_focus_back(tab):
    page = tab.open("#/entities", ".entity-card")
    button = page.get_by_role("button", name="Settings")
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    page.get_by_role("radio", name="As the system").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(THEME) == "dark"
    expect(page.locator("dialog [role=status]")).to_contain_text("Kept in this browser.")
    page.keyboard.press("Tab")
    expect(page.get_by_role("radio", name="Medium")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    expect(button).to_be_focused()


def test_a_browser_that_keeps_nothing_has_settings_until_it_is_closed(tab):
    tab.page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    page = tab.open("#/search", ".tile-text")
    dialog = settings(page)
    choose(page, "Dark")
    expect(dialog.locator("p")).to_have_text("This browser stores nothing: they hold until the page is closed.")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Entities").click()
    page.wait_for_selector(".entity-card")
    assert page.evaluate(BACK) == DARK


@pytest.mark.parametrize(
    "text", ["", "null", "[", "7", '{"theme": "<b>", "tiles": 9, "language": "__proto__"}', '{"language": "fr"}']
)
def test_what_is_kept_and_is_not_ours_is_passed_over(tab, text):
    tab.page.add_init_script(kept(text))
    page = tab.open("#/search", ".tile-text")
    assert page.evaluate("document.documentElement.lang") == "en"
    dialog = settings(page)
    chosen = dialog.get_by_role("radio", checked=True)
    assert [each.evaluate("e => e.parentElement.innerText") for each in chosen.all()] == [
        "As the system",
        "Medium",
        "As the browser",
    ]


def test_another_language_at_once_and_after_a_reload(new_tab):
    tab = new_tab()
    asked = []
    tab.page.on("request", lambda request: asked.append(request.url))
    page = tab.open("#/entities", ".entity-card")
    page.wait_for_load_state("networkidle")
    assert not any("static/de-" in each for each in asked)
    settings(page)
    choose(page, "Deutsch")
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text("Einstellungen")
    expect(page.locator("dialog [role=status]")).to_contain_text("In diesem Browser gespeichert.")
    assert sum("static/de-" in each for each in asked) == 1
    expect(page.locator("h1")).to_have_text("Entitäten")
    assert (page.title(), page.evaluate("document.documentElement.lang")) == ("Entitäten · OpenMOFI", "de")
    page.reload()
    page.wait_for_selector(".entity-card")
    assert page.locator("h1").inner_text() == "Entitäten"
    expect(page.locator(".entity-card .figure").first).to_have_text("8 Bilder")
    settings(page, "Einstellungen")
    choose(page, "English")
    expect(page.locator("h1")).to_have_text("Entities")


@pytest.mark.parametrize(("locale", "heading"), [("de-AT", "Entitäten"), ("fr-FR", "Entities"), ("en-GB", "Entities")])
def test_the_language_is_the_browsers_where_there_is_a_table(new_tab, locale, heading):
    page = new_tab(locale=locale).open("#/entities", ".entity-card")
    assert page.locator("h1").inner_text() == heading


def test_numbers_and_dates_are_written_as_the_language_does(new_tab):
    tab = new_tab(locale="de-DE")
    FakeSearch(total=5000, right=0).on(tab.page)
    page = tab.open("#/search?text=x", ".tile-text")
    expect(page.locator(".count")).to_have_text("Keine Treffer wahrscheinlich · 5.000 darunter")
    counts = {"date": [{"value": "2024-05", "name": "2024-05", "images": 1234}]}
    tab.page.route(
        "**/api/facets", lambda route: route.fulfill(json={"images": 5000, "ranked": False, "values": counts})
    )
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.get_by_role("group", name="Filter").get_by_role("button")).to_have_text("Mai 20241.234 Bilder")


def test_a_language_that_is_slow_is_not_kept_once_another_is_chosen(tab):
    held = []
    tab.page.route("**/static/de-*", lambda route: held.append(route))
    page = tab.open("#/entities", ".entity-card")
    dialog = settings(page)
    choose(page, "Deutsch")
    wait_for(page, lambda: held)
    choose(page, "English")
    expect(dialog.get_by_role("status")).to_contain_text("Kept in this browser.")
    with page.expect_response("**/static/de-*") as answered:
        held[0].continue_()
    answered.value.finished()
    page.wait_for_timeout(200)
    assert json.loads(page.evaluate(f"localStorage.getItem('{PLACE}')"))["language"] == "en"
    assert page.locator("h1").inner_text() == "Entities"
    expect(dialog.get_by_role("radio", name="English")).to_be_checked()
    expect(dialog.get_by_role("alert")).to_have_count(0)


def test_a_page_whose_language_does_not_come_is_english_until_it_does(new_tab):
    tab, held = new_tab(locale="de-DE"), []
    tab.page.route("**/static/de-*", lambda route: held.append(route))
    page = tab.open("#/entities", ".entity-card")
    assert page.locator("h1").inner_text() == "Entities"
    assert page.title() == "Entities · OpenMOFI"
    held[0].continue_()
    expect(page.locator("h1")).to_have_text("Entitäten")
    expect(page).to_have_title("Entitäten · OpenMOFI")
    expect(page.locator(".entity-card .figure").first).to_have_text("8 Bilder")
    assert page.evaluate("document.documentElement.lang") == "de"


def test_a_language_that_cannot_be_fetched_is_said_and_not_taken(tab):
    tab.page.route("**/static/de-*", lambda route: route.abort())
    page = tab.open("#/entities", ".entity-card")
    dialog = settings(page)
    choose(page, "Deutsch")
    expect(dialog.get_by_role("alert")).to_contain_text("A part of the page cannot be loaded.")
    expect(dialog.get_by_role("radio", name="As the browser")).to_be_checked()
    page.reload()
    page.wait_for_selector(".entity-card")
    assert page.locator("h1").inner_text() == "Entities"
    page.evaluate(kept('{"language": "de"}'))
    page.reload()
    page.wait_for_selector(".entity-card")
    assert page.locator("h1").inner_text() == "Entities"

"""Back, titles, a server that was away, keys that are held down."""

import pytest
from page_world import EACH, FakeSearch, wait_for, wait_for_images, wait_until
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def test_an_image_is_one_step_and_closing_it_takes_the_step_back(tab):
    page = tab.open("#/search", ".tile")
    page.get_by_role("combobox", name="Search images").fill("red square")
    page.keyboard.press("Enter")
    page.wait_for_url("**text=red+square")
    expect(page).to_have_title("red square · Search · OpenMOFI")
    for place in range(3):
        page.locator(".tile-open").nth(place).click()
        page.wait_for_url("**show=*")
        page.wait_for_selector("dialog")
        page.keyboard.press("Escape")
        page.wait_for_url("**text=red+square")
    page.go_back()
    page.wait_for_url("**#/search")
    expect(page).to_have_title("Search · OpenMOFI")


def test_filters_are_steps(tab):
    page = tab.open("#/search", ".tile")
    count = page.locator(".count strong")
    every = count.inner_text()
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("album").fill("first")
    page.keyboard.press("Tab")
    page.wait_for_url("**f.column.album=first")
    expect(count).not_to_have_text(every)
    page.go_back()
    page.wait_for_url("**#/search")
    expect(count).to_have_text(every)
    expect(page.get_by_label("album")).to_have_value("")


@pytest.mark.parametrize(
    ("where", "late", "field"), [("#/search", "facets", "album"), ("#/review/single", "review**", "Reviewer")]
)
def test_what_is_being_typed_stays_where_an_answer_comes_late(tab, where, late, field):
    held = []
    tab.page.route(f"**/api/{late}", lambda route: held.append(route))
    page = tab.open(where)
    if field == "album":
        page.get_by_role("button", name="Filters").click()
    page.get_by_label(field).press_sequentially("fir")
    wait_for(page, lambda: held)
    for route in held:
        route.continue_()
    page.locator(".facet-value, .question").first.wait_for()
    page.keyboard.type("st")
    expect(page.get_by_label(field)).to_have_value("first")


def test_back_leads_to_where_the_list_was_left(tab):
    FakeSearch(total=5_000).on(tab.page)
    page = tab.open("#/search?text=x", ".tile-text")
    page.evaluate("scrollTo(0, 20000)")
    first = "[...document.querySelectorAll('[data-place]')].find((tile) => tile.getBoundingClientRect().top > 200)"
    wait_until(page, f"() => {first}?.querySelector('.tile-text')")
    place = page.evaluate(f"{first}.dataset.place")
    page.get_by_role("link", name="Entities").click()
    page.wait_for_url("**#/entities")
    expect(page.locator(".entity-card").first).to_be_in_viewport()
    page.go_back()
    expect(page.locator(f"[data-place='{place}']")).to_be_in_viewport()
    assert abs(page.evaluate("scrollY") - 20_000) < 5


def test_the_title_names_the_entity(tab):
    page = tab.open("#/entity/c%3Ared")
    expect(page).to_have_title("red · Entity · OpenMOFI")


def test_what_failed_is_asked_again_when_the_server_answers(tab):
    page = tab.page
    FakeSearch(total=5_000).on(page)
    tab.open("#/search?text=x", ".tile-text")
    page.route("**/api/search", lambda route: route.abort("connectionrefused"))
    page.route("**/healthz", lambda route: route.abort("connectionrefused"))
    page.evaluate("scrollTo(0, 30000)")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("does not answer")
    expect(alert).to_be_in_viewport()
    assert page.locator(".tile.blank").count()
    page.unroute("**/healthz")
    FakeSearch(total=5_000).on(page)
    expect(page.locator(".tile.blank")).to_have_count(0)
    expect(alert).to_have_count(0)


def test_a_held_key_takes_no_page(tab, index):
    page = tab.open("#/review/grid/c%3Agrey", ".judge")
    expect(page.locator(".judge")).to_have_count(EACH)
    wait_for_images(page)
    page.locator(".judge").first.focus()
    press = "new KeyboardEvent('keydown', {key: 'Enter', repeat: true, bubbles: true, cancelable: true})"
    page.evaluate(f"document.activeElement.dispatchEvent({press})")
    page.wait_for_timeout(300)
    assert index.verdicts("c:grey") == []
    expect(page.locator(".judge")).to_have_count(EACH)


def test_what_cannot_be_shown_is_not_taken_as_right(tab, index):
    tab.page.route("**/api/images/*/thumbnail*", lambda route: route.fulfill(status=404))
    page = tab.open("#/review/grid/c%3Agrey", ".judge")
    expect(page.locator(".judge.u")).to_have_count(EACH)
    assert index.verdicts("c:grey") == []


def test_an_entity_that_is_not_there_has_no_labels_to_judge(tab):
    page = tab.open("#/review/grid/NOPE")
    expect(page.get_by_role("heading", name="The index has no entity NOPE")).to_be_visible()


def test_a_skipped_label_does_not_come_back(tab):
    page = tab.open("#/review/single/c%3Ablue", ".question")
    seen = set()
    image = page.locator(".stage img")
    for left in reversed(range(EACH)):
        shown = image.get_attribute("src")
        seen.add(shown)
        page.keyboard.press("s")
        if left:
            expect(image).not_to_have_attribute("src", shown)
    assert len(seen) == EACH
    expect(page.get_by_role("heading", name="Everything is judged")).to_be_visible()


@pytest.mark.parametrize("view", ["constructor", "__proto__", "nothing"])
def test_a_view_that_is_not_there_is_said(tab, view):
    page = tab.open(f"#/{view}/a")
    expect(page.get_by_role("heading", name="There is no such view")).to_be_visible()
    expect(page).to_have_title("Not found · OpenMOFI")


@pytest.mark.parametrize("entity", ["constructor", "__proto__"])
def test_an_entity_that_is_not_there_has_its_id_for_a_title(tab, entity):
    expect(tab.open(f"#/entity/{entity}", "main")).to_have_title(f"{entity} · Entity · OpenMOFI")

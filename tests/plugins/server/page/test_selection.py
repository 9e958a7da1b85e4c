"""Images selected in a grid: by clicks, ranges and keys; judged and taken back at once; as files and as a link."""

import csv
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from page_world import EACH, FakeSearch, image_row, wait_until
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def unjudged(index):
    """The index without verdicts, before and after."""
    yield
    for verdict in index.verdicts():
        index.undo_verdict(verdict.id)


def bar(page):
    return page.get_by_role("region", name="Selection")


def checked(page):
    return page.locator(".pick-tile:checked").count()


def test_clicks_ranges_and_keys_select(tab):
    page = tab.open("#/entity/c%3Ared", ".pick-tile")
    boxes = page.locator(".pick-tile")
    boxes.nth(1).click()
    expect(bar(page)).to_contain_text("1 selected")
    boxes.nth(5).click(modifiers=["Shift"])
    expect(bar(page)).to_contain_text("5 selected")
    assert checked(page) == 5
    boxes.nth(3).click()
    expect(bar(page)).to_contain_text("4 selected")
    page.keyboard.press("Escape")
    expect(bar(page)).to_have_count(0)
    page.locator(".tile-open").first.focus()
    page.keyboard.press("x")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+X")
    expect(bar(page)).to_contain_text("3 selected")
    page.keyboard.press("Control+a")
    expect(bar(page)).to_contain_text(f"{EACH} selected")
    expect(page.locator("#app > [role=status]")).to_contain_text(f"{EACH} selected")
    bar(page).get_by_role("button", name="Clear").click()
    expect(bar(page)).to_have_count(0)
    assert page.evaluate("document.activeElement.className") == "tile-open"
    # Tab reaches the box of the tile, Space checks it.
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(bar(page)).to_contain_text("1 selected")


def test_a_field_keeps_its_own_control_a(tab):
    page = tab.open("#/search", ".pick-tile")
    page.get_by_role("combobox", name="Search images").fill("red")
    page.keyboard.press("Control+a")
    assert page.evaluate("getSelection().toString() || document.activeElement.selectionEnd") in ("red", 3)
    expect(bar(page)).to_have_count(0)


def test_all_are_those_above_the_line(tab):
    FakeSearch(total=400, right=20).on(tab.page)
    page = tab.open("#/search?text=x", ".bar-line")
    page.locator(".tile-open").first.focus()
    page.keyboard.press("Control+a")
    expect(bar(page)).to_contain_text("14 selected")  # of FakeSearch, at 90 %
    expect(bar(page).get_by_role("button", name="Wrong")).to_have_count(0)  # no entity is searched
    page.get_by_role("combobox", name="Search images").fill("y")
    page.keyboard.press("Enter")
    expect(bar(page)).to_have_count(0)


def test_one_gesture_is_one_undo(tab, index):
    page = tab.open("#/entity/c%3Ablue", ".pick-tile")
    for place in (0, 2):
        page.locator(".pick-tile").nth(place).click()
    bar(page).get_by_role("button", name="Wrong").click()
    expect(bar(page)).to_contain_text("2 images: blue is wrong.")
    expect(page.locator(".tile .said.n")).to_have_count(2)
    assert [verdict.verdict for verdict in index.verdicts("c:blue")] == ["n", "n"]
    bar(page).get_by_role("button", name="Undo").click()
    expect(bar(page)).to_have_count(0)
    expect(page.locator(".tile .said")).to_have_count(0)
    assert index.verdicts("c:blue") == []
    page.keyboard.press("Control+a")
    bar(page).get_by_role("button", name="Right").click()
    expect(bar(page)).to_contain_text(f"{EACH} images: blue is right.")
    page.keyboard.press("z")
    expect(bar(page)).to_have_count(0)
    assert index.verdicts("c:blue") == []


def test_all_get_another_label(tab, index):
    page = tab.open("#/search?entity=c%3Agrey", ".pick-tile")
    expect(page.locator(".pick-tile").nth(1)).to_be_attached()
    page.locator(".pick-tile").nth(0).click()
    page.locator(".pick-tile").nth(1).click()
    bar(page).get_by_role("button", name="Label as").click()
    page.get_by_role("combobox", name="Label as").press_sequentially("yel")
    page.get_by_role("option", name="yellow").click()
    expect(bar(page)).to_contain_text("2 images: yellow is right.")
    assert [verdict.verdict for verdict in index.verdicts("c:yellow")] == ["y", "y"]


def test_a_failure_takes_all_back(tab, index):
    page = tab.open("#/entity/c%3Awhite", ".pick-tile")
    page.route("**/api/verdicts", lambda route: route.fulfill(status=409, json={"error": "The index is read-only."}))
    page.locator(".pick-tile").nth(0).click()
    bar(page).get_by_role("button", name="Wrong").click()
    expect(bar(page).get_by_role("alert")).to_contain_text("The index is read-only.")
    expect(bar(page)).to_contain_text("1 selected")
    assert index.verdicts("c:white") == []


def test_files_and_a_link(new_tab, index):
    tab = new_tab(permissions=["clipboard-read", "clipboard-write"])
    page = tab.open("#/entity/c%3Ayellow", ".pick-tile")
    for place in range(3):
        page.locator(".pick-tile").nth(place).click()
    with page.expect_download() as download:
        bar(page).get_by_role("button", name="Parquet").click()
    assert download.value.suggested_filename == "labels.parquet"
    table = pq.read_table(download.value.path()).to_pylist()
    with page.expect_download() as download:
        bar(page).get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [row["key"] for row in rows] == [row["key"] for row in table]
    ids = {row["image"] for row in table}
    assert len(ids) == 3
    assert {row["entity"] for row in table if row["accepted"]} == {"c:yellow"}
    bar(page).get_by_role("button", name="Copy link").click()
    link = page.get_by_role("textbox", name="Link to these images")
    expect(link).to_be_visible()
    address = page.evaluate("navigator.clipboard.readText()")
    assert link.input_value() == address
    page.goto("about:blank")
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_have_text("3 images")
    expect(page.locator(".tile-text")).to_have_count(3)
    page.locator(".tile-open").first.click()
    expect(page.locator("dialog .steps")).to_contain_text("1 of 3")


def test_boxes_are_always_there_where_nothing_hovers(new_tab):
    opacity = "e => getComputedStyle(e).opacity"
    touched = new_tab(viewport={"width": 400, "height": 800}, has_touch=True, is_mobile=True)
    assert touched.open("#/search", ".pick-tile").locator(".pick-tile").first.evaluate(opacity) == "1"
    page = new_tab().open("#/search", ".pick-tile")
    page.mouse.move(0, 0)
    assert page.locator(".pick-tile").first.evaluate(opacity) == "0"
    page.locator(".tile-open").first.focus()
    assert page.locator(".pick-tile").first.evaluate(opacity) == "1"


def test_what_is_not_loaded_is_left_out_of_a_range_and_said(tab):
    rows = [image_row(number) for number in range(1, 101)]
    page = tab.page

    def found(route):
        offset = route.request.post_data_json.get("offset", 0)
        hits = [
            {"image": row, "rank": 1, "cosine": None, "keyword": None, "probability": None, "duplicates": []}
            for row in rows
        ]
        if offset in (0, 900):
            hits = [{**hit, "image": {**hit["image"], "id": offset + hit["image"]["id"]}} for hit in hits]
            route.fulfill(json={"hits": hits, "total": 1000, "until": 0.9, "end": None, "note": "", "seconds": 0.0})
        else:
            route.abort()

    page.route("**/api/images/*/thumbnail*", lambda route: route.abort())
    page.route("**/api/search", found)
    tab.open("#/search", ".pick-tile")
    page.locator(".pick-tile").first.click()
    page.locator(".tile-open").first.focus()
    page.keyboard.press("End")
    wait_until(page, "() => document.activeElement.closest('[data-place]')?.dataset.place === '999'")
    page.keyboard.press("Shift+X")
    expect(bar(page)).to_contain_text("200 selected")
    expect(page.locator("#app > [role=status]")).to_contain_text("800 images between them are not loaded")

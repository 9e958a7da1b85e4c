"""Search by text, entity, image and region; refining; the end of what is expected to be right."""

import re

import pytest
from page_world import FakeSearch, png
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def tiles(page):
    return page.locator(".tile-slot .tile-text")


def settled(page):
    page.wait_for_selector("section:not(.replaced) .tile-text")


def test_text_goes_into_the_address_and_comes_back_from_it(tab, whole):
    page = tab.open()
    expect(page.locator(".count")).to_contain_text(whole)
    page.get_by_role("combobox", name="Search images").fill("blue")
    page.keyboard.press("Enter")
    page.wait_for_url("**/#/search?text=blue")
    expect(tiles(page).first).to_contain_text("blue")
    tab.open("#/search?text=green")
    expect(tiles(page).first).to_contain_text("green")
    assert page.get_by_role("combobox", name="Search images").input_value() == "green"
    page.locator(".brand").click()
    expect(page.locator(".hint")).to_be_visible()
    page.go_back()
    expect(tiles(page).first).to_contain_text("green")


def test_entities_are_completed_by_an_alias_and_chosen_by_keys(tab):
    page = tab.open()
    box = page.get_by_role("combobox", name="Search images")
    box.press_sequentially("crim")
    option = page.get_by_role("option", name=re.compile("^red"))
    expect(option).to_be_visible()
    box.press("ArrowDown")
    assert box.get_attribute("aria-activedescendant") == option.get_attribute("id")
    box.press("Enter")
    page.wait_for_url("**/#/search?entity=c%3Ared")
    expect(page.locator(".chip.entity")).to_contain_text("red")
    expect(tiles(page).first).to_contain_text("red")
    page.get_by_role("button", name="Remove red").click()
    expect(page.locator(".query-chips")).to_have_count(0)


def test_an_image_is_chosen_dropped_and_pasted(tab):
    page = tab.open()
    page.locator("input[type=file]").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": png()})
    page.wait_for_url("**upload=**")
    expect(page.locator(".chip.example")).to_have_count(1)
    expect(tiles(page).first).to_contain_text("red")
    for kind, name, target in (("DragEvent", "drop", "dataTransfer"), ("ClipboardEvent", "paste", "clipboardData")):
        tab.open()
        page.evaluate(
            """async ([bytes, kind, name, target]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "y.png", { type: "image/png" }));
            const event = { [target]: data, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new globalThis[kind](name, event));
        }""",
            [list(png((40, 60, 210))), kind, name, target],
        )
        page.wait_for_url("**upload=**")
        expect(tiles(page).first).to_contain_text("blue")


def test_a_region_is_dragged_and_searched_with(tab):
    page = tab.open("#/search?show=1")
    page.get_by_role("button", name="Select a region").click()
    box = page.locator(".region-frame").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.7, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Search with the region").click()
    page.wait_for_url("**image=1**")
    region = [
        float(part)
        for part in page.evaluate("new URLSearchParams(location.hash.split('?')[1]).get('image')")
        .split("@")[1]
        .split(",")
    ]
    assert region == pytest.approx([0.1, 0.2, 0.6, 0.7], abs=0.02)
    expect(page.locator("dialog")).to_have_count(0)
    expect(tiles(page).first).to_contain_text("red")


def test_a_region_is_moved_and_sized_by_keys(tab):
    page = tab.open("#/search?image=1&text=red")
    page.get_by_role("button", name="image 1: select a region or recognise").click()
    region = page.locator(".region")
    region.focus()
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url("**%400.23%2C0.23%2C0.75%2C0.75**")
    expect(page.locator(".region-mark")).to_be_visible()


def test_thumbs_refine_at_once_and_keep_the_focus(tab):
    page = tab.open("#/search")
    settled(page)
    blue = page.locator(".tile-slot", has_text="a blue square").first
    blue.get_by_role("button", name="More like this").click()
    page.wait_for_url("**more=**")
    expect(page.locator(".chip.right")).to_contain_text("1 image more like this")
    expect(tiles(page).first).to_contain_text("blue")
    settled(page)
    page.locator(".tile-open").first.focus()
    page.keyboard.press("-")
    page.wait_for_url("**less=**")
    expect(page.locator(".chip.wrong")).to_be_visible()
    settled(page)
    assert page.evaluate("document.activeElement.className") == "tile-open"


def test_filters_narrow_by_date_column_and_entity(tab):
    page = tab.open()
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("To day").fill("2024-05-02")
    page.get_by_label("To day").press("Enter")
    page.wait_for_url("**f.until=2024-05-02")
    expect(page.locator(".count")).to_contain_text("12 images")
    page.get_by_label("album").fill("first")
    page.get_by_label("album").press("Enter")
    expect(page.locator(".count")).to_contain_text("6 images")
    page.locator(".facets button", has_text="green").click()
    expect(page.locator(".count")).to_contain_text("1 image")
    page.get_by_role("button", name="Remove the filter").click()
    expect(page.locator(".count")).to_contain_text("6 images")
    page.get_by_label("album").fill("third")
    page.get_by_label("album").press("Enter")
    expect(page.get_by_role("heading", name="Nothing was found")).to_be_visible()


def test_counts_narrow_and_are_counted_anew(tab):
    page = tab.open()
    page.get_by_role("button", name="Filters").click()
    rail = page.get_by_role("group", name="Filters")
    expect(rail).to_contain_text("48 images, near-duplicates counted too")
    rail.get_by_role("button", name="second 24 images").click()
    page.wait_for_url("**f.column.album=second")
    expect(rail).to_contain_text("24 images")
    expect(page.get_by_label("album")).to_have_value("second")
    rail.get_by_role("button", name="green 4 images").click()
    expect(page.locator(".count")).to_contain_text("4 images")
    rail.get_by_role("button", name="green").click()
    expect(rail).to_contain_text("24 images")
    assert rail.get_by_role("combobox").locator("option").all_inner_texts()[1] == "50 % · 24"


def test_a_list_is_ordered_by_date(tab):
    page = tab.open()
    page.get_by_label("Order").select_option("newest first")
    page.wait_for_url("**order=newest")
    expect(tiles(page).first).to_contain_text("number 7")
    page.go_back()
    expect(tiles(page).first).to_contain_text("number 0")
    expect(page.get_by_label("Order")).to_have_value("")
    tab.open("#/search?text=red", ".tile-text")
    expect(page.get_by_label("Order")).to_have_count(0)


def test_an_image_is_recognised_with_evidence(tab):
    page = tab.open("#/search?show=1")
    page.get_by_role("button", name="Recognise").click()
    expect(page.locator(".recognition li").first).to_contain_text("red")
    assert page.locator(".recognition li").first.locator(".evidence img").count() > 1
    page.get_by_role("link", name="red").first.click()
    page.wait_for_url("**/#/entity/c%3Ared")


def test_looking_closely_and_back_by_escape(tab):
    page = tab.open("#/search?show=1")
    page.get_by_role("button", name="Look closely").click()
    expect(page.locator(".pswp--open")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".pswp")).to_have_count(0)
    expect(page.locator("dialog[open]")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    assert "show" not in page.url


def test_the_bar_lies_at_the_end_of_what_is_expected_right(tab):
    FakeSearch(total=500, right=20).on(tab.page)
    page = tab.open("#/search?text=x")
    expect(page.locator(".count")).to_have_text("14 likely · 486 more below")
    expect(page.locator(".bar-line")).to_contain_text("End of what is likely. About 13 of 14 images above are right.")
    page.locator(".grid-bar").scroll_into_view_if_needed()
    bar, first = page.locator(".grid-bar").bounding_box(), page.locator(".tile.beyond").first.bounding_box()
    assert bar["y"] < first["y"]
    assert page.locator('[data-place="13"] .beyond').count() == 0
    assert page.locator('[data-place="14"] .beyond').count() == 1
    assert page.locator('[data-place="0"] .probability .figure').text_content() == "99 %"


def test_a_text_that_is_a_name_offers_its_other_senses(tab):
    senses = [{"id": f"e:{name}", "name": "kite", "description": f"a {name}", "types": []} for name in ("bird", "toy")]
    FakeSearch(total=20, right=5, meant=senses).on(tab.page)
    page = tab.open("#/search?text=kite", ".tile-text")
    expect(page.locator(".senses [aria-current]")).to_contain_text("kite a bird")
    page.get_by_role("button", name="kite a toy").click()
    page.wait_for_url("**/#/search?entity=e%3Atoy")
    expect(page.locator(".chip.entity")).to_have_text("kite")
    expect(page.locator(".senses")).to_have_count(0)
    page.go_back()
    page.get_by_role("button", name="as words").click()
    page.wait_for_url("**/#/search?text=kite&words=1")
    page.get_by_role("button", name="Remove as words").click()
    page.wait_for_url("**/#/search?text=kite")
    expect(page.locator(".senses [aria-current]")).to_be_visible()


def test_a_mistyped_name_is_completed(tab):
    page = tab.open()
    page.get_by_role("combobox", name="Search images").press_sequentially("grren")
    expect(page.get_by_role("option")).to_contain_text(["green"])


def test_the_badge_of_a_result_leads_to_its_near_duplicates(tab):
    def folding(route):
        answer = route.fetch().json()
        for hit in answer["hits"]:
            hit["duplicates"] = []  # some squares are alike
        answer["hits"][0]["duplicates"] = [answer["hits"][1]["image"]["id"], answer["hits"][2]["image"]["id"]]
        route.fulfill(json=answer)

    tab.page.route("**/api/search", folding)
    page = tab.open("#/search?text=a+blue+square", ".tile-text")
    expect(page.locator("a.badge")).to_have_count(1)
    texts = tiles(page).all_text_contents()[:3]
    page.get_by_role("link", name="2 near-duplicates folded in").click()
    expect(page.get_by_role("heading", name="3 images")).to_be_visible()
    expect(tiles(page)).to_have_text(texts)
    page.go_back()
    expect(tiles(page).first).to_have_text(texts[0])


def test_a_query_without_probabilities_says_why(tab):
    page = tab.open("#/search?text=square")
    expect(page.locator(".count")).to_contain_text("closest first")
    page.get_by_text("Why there are no probabilities").click()
    expect(page.locator(".results-head .why")).to_contain_text("No label says what its images show.")
    expect(page.locator(".tile-slot .probability")).to_have_count(0)
    expect(page.locator(".note")).to_have_count(0)
    page = tab.open("#/search?text=zxcv")
    expect(page.locator(".note")).to_contain_text("None of these images has any of the words in its text")
    page = tab.open("#/search?show=1")
    page.get_by_role("button", name="Recognise").click()
    expect(page.locator(".recognition .why")).to_contain_text("No label says what its images show.")


def test_a_name_has_the_probabilities_of_its_labels(tab):
    page = tab.open("#/search?text=red")
    expect(page.locator(".results-head .why")).to_contain_text("Images that the label job judged for an entity have")
    assert page.locator(".tile-slot").first.locator(".probability .figure").text_content().endswith(" %")


def test_a_query_whose_results_are_all_unlikely_says_so(tab):
    FakeSearch(total=300, right=0, note="No image of the index is likely to show this.").on(tab.page)
    page = tab.open("#/search?text=unicorn")
    expect(page.locator(".note")).to_contain_text("No image of the index is likely")
    expect(page.locator(".bar-line")).to_contain_text("No run of results is expected to be 90 % right")

"""The viewer: through the list by keys and buttons, why each label was believed, labels judged and added where seen."""

import re

import pytest
from page_world import EACH, FakeSearch, image_row, wait_for, wait_until
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def unjudged(index):
    """The index without verdicts, before and after."""
    yield
    for verdict in index.verdicts():
        index.undo_verdict(verdict.id)


def said(index, entity):
    return [(verdict.verdict, verdict.who) for verdict in index.verdicts(entity)]


def test_keys_and_buttons_step_through_the_list_and_the_address_follows(tab):
    page = tab.open("#/entity/c%3Agreen", ".tile-open")
    labels = page.locator(".tile-open").evaluate_all("all => all.map(e => e.getAttribute('aria-label').split(',')[0])")
    steps = page.evaluate("history.length")
    page.locator(".tile-open").nth(1).click()
    position = page.locator("dialog .steps [role=status]")
    heading = page.locator("dialog h2")
    expect(position).to_have_text(f"2 of {EACH}")
    page.keyboard.press("ArrowRight")
    expect(position).to_have_text(f"3 of {EACH}")
    expect(heading).to_contain_text(labels[2])
    address = page.evaluate("location.href")
    page.get_by_role("button", name="Next image").click()
    expect(position).to_have_text(f"4 of {EACH}")
    expect(page).not_to_have_url(address)
    page.keyboard.press("ArrowLeft")
    expect(heading).to_contain_text(labels[2])
    expect(page).to_have_url(address)
    assert page.evaluate("history.length") == steps + 1
    page.reload()
    expect(position).to_have_text(f"3 of {EACH}")
    for _ in range(2):
        page.get_by_role("button", name="Previous image").click()
    expect(position).to_have_text(f"1 of {EACH}")
    expect(page.get_by_role("button", name="Previous image")).to_be_disabled()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    expect(position).to_have_text(f"2 of {EACH}")
    page.keyboard.press("?")
    expect(page.locator("dialog .keys")).to_contain_text("previous")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    wait_until(page, "() => document.activeElement.closest('[data-place]')?.dataset.place === '1'")


def test_it_steps_over_what_the_grid_has_not_loaded_and_fetches_the_neighbours_images(tab):
    fake = FakeSearch(total=1000).on(tab.page)
    asked = []
    tab.page.route("**/api/images/*/original", lambda route: (asked.append(route.request.url), route.abort()))
    tab.page.route("**/api/images/*/verdicts", lambda route: route.fulfill(json=[]))
    page = tab.open("#/search?text=x", ".tile-text")
    page.locator(".tile-open").first.focus()
    page.locator(".tile-open").first.click()
    position = page.locator("dialog .steps [role=status]")
    expect(position).to_have_text("1 of 1,000")
    for place in range(2, 104):
        page.keyboard.press("ArrowRight")
        expect(position).to_have_text(f"{place} of 1,000")
    expect(page.locator("dialog h2")).to_have_text("image 103")
    assert {call.get("offset", 0) for call in fake.calls} == {0, 100}
    wait_for(page, lambda: any(url.endswith("/104/original") for url in asked))
    page.keyboard.press("Escape")
    wait_until(page, "() => document.activeElement.closest('[data-place]')?.dataset.place === '102'")


def test_arrows_move_the_region_while_one_is_chosen_and_type_in_a_field(tab):
    page = tab.open("#/search?show=3", "dialog .facts")
    before = page.locator("dialog h2").inner_text()
    page.get_by_role("button", name="Select a region").click()
    page.locator(".region").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Add a label").click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("?")
    assert page.locator("dialog h2").inner_text() == before
    expect(page.locator("dialog .keys")).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "image-3.png"


def test_a_label_is_judged_shown_and_taken_back(tab, index):
    tab.open("#/review").get_by_label("Reviewer").fill("Ada")
    tab.page.get_by_label("Reviewer").press("Tab")
    page = tab.open("#/entity/c%3Ared", ".tile-open")
    page.locator(".tile-open").first.click()
    right, wrong = (page.get_by_role("button", name=f"red is {word}") for word in ("right", "wrong"))
    wrong.click()
    expect(wrong).to_have_attribute("aria-pressed", "true")
    assert said(index, "c:red") == [("n", "Ada")]
    expect(page.locator(".tile .said.n")).to_have_count(1)  # in the grid behind, too
    page.reload()
    expect(wrong).to_have_attribute("aria-pressed", "true")
    right.click()
    expect(right).to_have_attribute("aria-pressed", "true")
    expect(wrong).to_have_attribute("aria-pressed", "false")
    right.click()
    expect(wrong).to_have_attribute("aria-pressed", "true")  # what was said before
    wrong.focus()
    page.keyboard.press("Enter")
    expect(wrong).to_have_attribute("aria-pressed", "false")
    assert said(index, "c:red") == []
    expect(page.locator(".tile .said")).to_have_count(0)


def test_another_reviewers_word_is_not_taken_back(tab, index):
    record = index.image(1)
    entity = record.labels[0].entity
    from openmofi.search import Verdict

    index.add_verdict(Verdict(record.shard, record.key, entity, "y", who="Ben"))
    page = tab.open("#/search?show=1", "dialog .facts")
    button = page.get_by_role("button", name=f"{record.labels[0].name} is right")
    expect(button).to_have_attribute("title", "right (Ben said so)")
    button.click()
    expect(button).to_have_attribute("title", "right (said so)")
    button.click()
    expect(button).to_have_attribute("title", "right (Ben said so)")
    assert said(index, entity) == [("y", "Ben")]


def test_an_entity_that_was_no_candidate_is_added_and_suggestions_are_judged(tab, index):
    record = index.image(2)
    known = {label.entity for label in record.labels}
    other = next(each for each in index.entities() if each.id not in known)
    page = tab.open("#/search?show=2", "dialog .facts")
    page.get_by_role("button", name="Add a label").click()
    page.get_by_role("combobox", name="It also shows").press_sequentially(other.name[:3])
    page.get_by_role("option", name=re.compile(f"^{other.name}")).wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    row = page.locator(".label-list li", has_text=other.name)
    expect(row).to_contain_text("said by a person")
    assert said(index, other.id) == [("y", "")]
    page.reload()
    expect(row.get_by_role("button", name=f"{other.name} is right")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Recognise").click()
    first = page.locator(".recognition li").first
    first.get_by_role("button", name=re.compile("is wrong$")).click()
    expect(first.locator(".thumb.less")).to_have_attribute("aria-pressed", "true")
    latest = index.verdicts()[0]
    assert (latest.verdict, latest.key) == ("n", record.key)


def test_a_refused_verdict_is_explained(tab):
    page = tab.page
    page.route("**/api/verdicts", lambda route: route.fulfill(status=409, json={"error": "The index is read-only."}))
    tab.open("#/search?show=1", "dialog .facts")
    page.locator(".label-list .thumb.more").first.click()
    expect(page.locator("dialog .failure")).to_contain_text("The index is read-only.")
    expect(page.locator(".label-list .thumb.more").first).to_have_attribute("aria-pressed", "false")


def test_why_a_label_was_believed_and_where_the_text_names_it(tab):
    text = "😀 the Kite over a kite"
    labels = [
        {"entity": "e:bird", "name": "kite (bird)", "probability": 0.9, "accepted": True},
        {"entity": "e:toy", "name": "kite (toy)", "probability": 0.04, "accepted": False},
    ]
    judged = {"mention": 1, "link_score": 0.75, "description": ""}
    candidates = [
        {**labels[0], "prior": 0.25, "image_score": 9.0, "reason": "accepted", **judged},
        {**labels[1], "prior": None, "image_score": 4.0, "reason": "below_threshold", **judged},
    ]
    plain = {"surface": "kite", "detector": "gazetteer", "reason": ""}
    mentions = [{"start": 6, "end": 10, "kind": "title", **plain}, {"start": 18, "end": 22, "kind": "tags", **plain}]
    page = tab.page
    page.route("**/api/images/1", lambda route: route.fulfill(json=image_row(1, text, labels)))
    page.route("**/api/images/1/verdicts", lambda route: route.fulfill(json=[]))
    page.route(
        "**/api/images/1/reading",
        lambda route: route.fulfill(
            json={"text": text, "status": "labelled", "mentions": mentions, "candidates": candidates}
        ),
    )
    tab.open("#/search?show=1", "dialog mark.meant")
    assert page.locator("dialog .caption").text_content() == text
    assert page.locator("dialog mark.meant").get_attribute("title") == "tags · gazetteer"
    assert page.locator("dialog mark.other").all_text_contents() == ["Kite"]
    expect(page.locator("dialog .named-in")).to_have_text("Names in title, tags")
    reasons = page.locator(".label-list p.faint").all_text_contents()
    assert reasons == [
        "“kite” (tags) means this in 25 % of its uses, 75 % with the rest of the text; "
        "of 2 candidates the image is closest to this one",
        "“kite” (tags) 75 % with the rest of the text; the image is closer to kite (bird); below the threshold",
    ]

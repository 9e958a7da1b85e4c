"""Judging labels: by the page, one after another, undo, two reviewers at once."""

import pytest
from page_world import EACH, image_row, wait_for_images
from playwright.sync_api import expect

from openmofi.search import Verdict

pytestmark = pytest.mark.slow


def said(index, entity, number=EACH):
    return {verdict.key: verdict for verdict in index.verdicts(entity)[:number]}


def test_a_page_is_taken_by_keys_and_taken_back(tab, index):
    page = tab.open("#/review/grid/c%3Ablue", ".judge")
    page.get_by_label("Reviewer").fill("Ada")
    page.get_by_label("Reviewer").press("Tab")
    expect(page.locator(".judge")).to_have_count(EACH)
    page.locator(".judge").first.focus()
    for key in ("n", "ArrowRight", "u", "ArrowRight", "Space"):
        page.keyboard.press(key)
    expect(page.locator(".judge.n")).to_have_count(2)
    wait_for_images(page)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="All of its labels are judged")).to_be_visible()
    values = [verdict.verdict for verdict in said(index, "c:blue").values()]
    assert sorted(values) == sorted("nun" + "y" * (EACH - 3))
    assert {verdict.who for verdict in index.verdicts("c:blue")} == {"Ada"}
    expect(page.locator(".precision")).to_contain_text("by 7 verdicts on 8 labels")
    page.keyboard.press("z")
    expect(page.locator(".judge.n")).to_have_count(2)
    expect(page.locator(".precision")).to_have_count(0)
    assert index.verdicts("c:blue") == []
    page.reload()
    assert page.get_by_label("Reviewer").input_value() == "Ada"


def test_wrong_ones_are_marked_by_clicks_and_by_dragging(tab, index):
    page = tab.open("#/review/grid/c%3Ayellow", ".judge")
    page.locator(".judge").nth(0).click()
    expect(page.locator(".judge.n")).to_have_count(1)
    page.locator(".judge").nth(0).click()
    expect(page.locator(".judge.n")).to_have_count(0)
    boxes = [page.locator(".judge").nth(place).bounding_box() for place in (1, 3)]
    centre = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes]
    page.mouse.move(*centre[0])
    page.mouse.down()
    page.mouse.move(*centre[1], steps=12)
    page.mouse.up()
    expect(page.locator(".judge.n")).to_have_count(3)
    wait_for_images(page)
    page.get_by_role("button", name="Take the page").click()
    expect(page.get_by_role("heading", name="All of its labels are judged")).to_be_visible()
    assert sum(verdict.verdict == "n" for verdict in index.verdicts("c:yellow")) == 3


def test_one_by_one_with_the_mention_marked_and_an_entity_instead(tab, index):
    page = tab.open("#/review/single/c%3Awhite", ".question")
    expect(page.locator(".question")).to_have_text("Does it show white?")
    expect(page.locator(".caption mark")).to_have_text("white")
    assert "%" not in page.locator("main").inner_text()  # nothing of the probability before the verdict
    page.keyboard.press("y")
    expect(page.locator("[data-last]")).to_contain_text("you said yes; the labels gave it")
    page.keyboard.press("u")
    expect(page.locator("[data-last]")).to_contain_text("unsure")
    page.keyboard.press("i")
    page.get_by_role("combobox", name="It is instead").press_sequentially("yel")
    expect(page.get_by_role("option", name="yellow")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("[data-last]")).to_contain_text("it is yellow")
    latest = index.verdicts("c:white")
    assert [(verdict.verdict, verdict.instead) for verdict in latest] == [("n", "c:yellow"), ("u", ""), ("y", "")]
    page.keyboard.press("z")
    expect(page.locator("[data-last]")).to_contain_text("unsure")
    page.wait_for_selector(".single .chips kbd")
    page.locator(".single .chips button", has_text="grey").click()
    expect(page.locator("[data-last]")).to_contain_text("it is grey")
    assert index.verdicts("c:white")[0].instead == "c:grey"
    expect(page.locator(".evidence img").first).to_be_visible()


def test_two_reviewers_at_once(new_tab, index):
    first, second = new_tab(), new_tab()
    for tab, name in ((first, "Ada"), (second, "Ben")):
        tab.open("#/review/single/c%3Agreen", ".question").get_by_label("Reviewer").fill(name)
        tab.page.get_by_label("Reviewer").press("Tab")
    for judged in ("1 label judged", "2 labels judged"):
        for tab in (first, second):
            tab.page.keyboard.press("y")
        for tab in (first, second):
            expect(tab.page.locator("[data-last]")).to_contain_text(judged)
    assert [verdict.who for verdict in index.verdicts("c:green")].count("Ada") == 2
    assert [verdict.who for verdict in index.verdicts("c:green")].count("Ben") == 2


def test_two_reviewers_at_once_on_one_grid(new_tab, index):
    for verdict in index.verdicts("c:grey"):
        index.undo_verdict(verdict.id)
    first, second = new_tab(), new_tab()
    for tab, name in ((first, "Ada"), (second, "Ben")):
        page = tab.open("#/review/grid/c%3Agrey", ".judge")
        page.get_by_label("Reviewer").fill(name)
        page.get_by_label("Reviewer").press("Tab")
        expect(page.locator(".judge")).to_have_count(EACH)
        wait_for_images(page)
    second.page.locator(".judge").nth(2).click()
    for tab in (first, second):
        tab.page.get_by_role("button", name="Take the page").click()
        expect(tab.page.get_by_role("heading", name="All of its labels are judged")).to_be_visible()
    expect(first.page.locator(".note")).to_have_count(0)
    expect(second.page.locator(".note")).to_contain_text(
        f"Faster than you: Ada, with {EACH} of these labels, 1 of them"
    )
    said = index.verdicts("c:grey")
    assert [(each.who, each.verdict) for each in said].count(("Ada", "y")) == EACH
    assert sorted(each.verdict for each in said if each.who == "Ben") == ["n", *["y"] * (EACH - 1)]
    second.page.keyboard.press("z")  # takes one's own back alone
    expect(second.page.locator(".judge.n")).to_have_count(1)
    expect(second.page.locator(".note")).to_have_count(0)
    assert {each.who for each in index.verdicts("c:grey")} == {"Ada"}
    for verdict in index.verdicts("c:grey"):
        index.undo_verdict(verdict.id)


def test_what_agents_judged_is_said_not_counted(tab, index):
    for verdict in index.verdicts("c:red"):
        index.undo_verdict(verdict.id)
    records = [each.image for each in index.entity_images("c:red", accepted=True, limit=3)]
    given = index.add_verdicts([Verdict(each.shard, each.key, "c:red", "n", who="agent:tester") for each in records])
    page = tab.open("#/review/single/c%3Ared", ".question")
    expect(page.locator(".precision")).to_have_text(
        "3 labels that agents judged are not counted: precision stands on what people saw."
    )
    page.keyboard.press("y")
    expect(page.locator(".precision")).to_contain_text("by 1 verdict on 8 labels")
    expect(page.locator(".precision")).to_contain_text("3 labels that agents judged are not counted")
    page = tab.open("#/review/grid/c%3Ared", ".judge")
    expect(page.locator(".judge")).to_have_count(EACH - 1)  # an agent's word takes no label from a person
    for verdict in [*given, *index.verdicts("c:red")]:
        index.undo_verdict(verdict.id)


def test_the_entrance_leads_to_both_ways(tab):
    page = tab.open("#/review")
    page.get_by_role("link", name="Judge single labels").click()
    page.wait_for_url("**/#/review/single")
    expect(page.locator(".question")).to_be_visible()
    page.get_by_role("link", name="Other entities").click()
    page.get_by_role("link", name="grey").click()
    page.wait_for_url("**/#/review/grid/c%3Agrey")
    expect(page.locator(".judge")).to_have_count(EACH)
    with page.expect_download() as download:
        tab.open("#/review").get_by_role("link", name="Verdicts as Parquet").click()
    assert download.value.suggested_filename == "verdicts.parquet"


def test_mentions_are_marked_where_the_label_job_read_them(tab):
    text = "😀 the Kite over a kite"
    row = image_row(1, text, [{"entity": "e:bird", "name": "kite (bird)", "probability": 0.9, "accepted": True}])
    bird = {
        "id": "e:bird",
        "name": "kite (bird)",
        "description": "",
        "types": [],
        "popularity": 1.0,
        "aliases": [],
        "images": 1,
        "named": 1,
    }
    tab.page.route("**/api/entities/e*", lambda route: route.fulfill(json=bird))
    judged = {"mention": 1, "prior": 0.5, "link_score": 0.5, "image_score": 0.5, "probability": 0.9, "reason": ""}
    page = tab.page
    page.route(
        "**/api/review?**",
        lambda route: route.fulfill(
            json=[{"image": row, "entity": bird, "probability": 0.9, "accepted": True, "verdict": ""}]
        ),
    )
    page.route(
        "**/api/images/1/reading",
        lambda route: route.fulfill(
            json={
                "text": text,
                "status": "labelled",
                "mentions": [{"start": 6, "end": 10, "kind": "title"}, {"start": 18, "end": 22, "kind": "title+tags"}],
                "candidates": [
                    {"entity": "e:bird", "name": "kite (bird)", "accepted": True, **judged},
                    {"entity": "e:toy", "name": "kite (toy)", "accepted": False, **judged},
                ],
            }
        ),
    )
    tab.open("#/review/single/e%3Abird", "mark.meant")
    assert page.locator(".caption mark.other").all_text_contents() == ["Kite"]
    assert page.locator(".caption mark.meant").all_text_contents() == ["kite"]
    assert page.locator(".caption").text_content() == text
    expect(page.locator(".named-in")).to_have_text("Named in title+tags")
    expect(page.locator(".single .chips button").first).to_have_text("1 kite (toy)")


def test_my_verdicts_are_taken_back_after_a_reload(tab, index):
    for verdict in index.verdicts():
        index.undo_verdict(verdict.id)
    records = index.images(range(1, 61))
    index.add_verdicts([Verdict(each.shard, each.key, "c:red", "n", who="Ada") for each in records[:24]])
    index.add_verdicts([Verdict(each.shard, each.key, "c:blue", "y", who="Ada") for each in records[:24]])
    index.add_verdicts([Verdict(records[0].shard, "gone", "c:blue", "u", who="Ada", instead="c:red")])
    index.add_verdict(Verdict(records[0].shard, records[0].key, "c:green", "y", who="Ben"))
    page = tab.open("#/review/history")
    expect(page.get_by_role("heading", name="No verdicts yet")).to_be_visible()
    page.get_by_label("Reviewer").fill("Ada")
    page.get_by_label("Reviewer").press("Tab")
    rows = page.locator(".history li")
    expect(rows).to_have_count(49)
    expect(rows.first).to_contain_text("unsure blue, it is red")
    expect(rows.first).to_contain_text("no longer in the index")
    page.reload()
    rows.nth(1).get_by_role("button", name="Take back: blue is right").click()
    expect(rows).to_have_count(48)
    assert len(index.verdicts("c:blue")) == 24
    page.get_by_role("link", name=records[22].text).first.click()
    expect(page.locator("dialog .facts")).to_contain_text(records[22].key)


def test_older_verdicts_are_read_on_demand(tab, index):
    for verdict in index.verdicts():
        index.undo_verdict(verdict.id)
    records = index.images(range(1, 41))
    for entity in ("c:red", "c:blue"):
        index.add_verdicts([Verdict(each.shard, each.key, entity, "y") for each in records])
    page = tab.open("#/review", ".entity-card")
    page.get_by_role("link", name="My verdicts").click()
    expect(page.locator(".history li")).to_have_count(50)
    page.locator(".history button").first.click()
    expect(page.locator(".history li")).to_have_count(49)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".history li")).to_have_count(79)
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    for verdict in index.verdicts():
        index.undo_verdict(verdict.id)

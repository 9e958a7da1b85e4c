"""Texts are text, refusals are explained, and a server that fails or asks for a token is met kindly."""

import io

import pytest
from page_world import EACH, HOSTILE, FakeSearch, address_of, image_row, wait_until
from PIL import Image
from playwright.sync_api import expect
from search_world import colour_encoder

from openmofi.plugins.server.run import redirecting
from openmofi.search import Index

pytestmark = pytest.mark.slow
TOKEN = "a token of the tests"


def test_html_in_captions_names_and_columns_is_text(tab):
    row = image_row(1, HOSTILE, [{"entity": "e:x", "name": HOSTILE, "probability": 0.9, "accepted": True}])
    row["columns"], row["url"] = {HOSTILE: HOSTILE}, "javascript:document.title=1"
    row["key"], row["source"], row["path"] = HOSTILE, f"/{HOSTILE}", f"/{HOSTILE}/{HOSTILE}.png"
    tab.page.route("**/api/images/1", lambda route: route.fulfill(json=row))
    page = tab.open("#/search?show=1", "dialog .facts")
    expect(page.locator("dialog h2").first).to_have_text(HOSTILE)
    expect(page.locator("dialog .facts")).to_contain_text(HOSTILE)
    assert page.locator("dialog a[href^='javascript']").count() == 0
    page = tab.open("#/entity/c%3Ared", ".tile")
    expect(page.locator(".lead")).to_have_text(f"the colour {HOSTILE}")
    tab.open("#/review/single/c%3Ared", ".question")
    tab.open("#/search?entity=c%3Ared", ".tile-text")
    assert page.locator("main b").count() == 0
    assert page.title() == "red · Search · OpenMOFI"


def test_refused_uploads_are_explained(tab, tmp_path, whole):
    page = tab.open()
    bomb = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(bomb, "PNG")
    for name, data, sentence in (
        ("large.jpg", bytes(60_000_000), "too large"),
        ("bomb.png", bomb.getvalue(), "pixels"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "are not read"),
        ("broken.jpg", b"\xff\xd8\xff\xe0 nothing", "can be read"),
    ):
        (tmp_path / name).write_bytes(data)
        page.locator("input[type=file]").set_input_files(tmp_path / name)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text(sentence, timeout=20_000)
        assert alert.locator("p").count() >= 1  # what to do next
        expect(page.locator(".count")).to_contain_text(whole)  # the page goes on
    assert "upload" not in page.url


def test_half_a_gigabyte_that_is_dropped_is_refused_before_it_is_sent(tab, tmp_path, whole):
    with (tmp_path / "film.jpg").open("wb") as film:
        film.truncate(500_000_000)
    sent = []
    tab.page.on("request", lambda request: sent.append(request.url))
    page = tab.open("#/search?text=red", ".tile-text")
    page.evaluate("document.body.append(Object.assign(document.createElement('input'), {type: 'file', id: 'film'}))")
    page.locator("#film").set_input_files(tmp_path / "film.jpg")
    page.evaluate(
        """() => { const data = new DataTransfer(); data.items.add(document.getElementById("film").files[0]);
        dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true})); }"""
    )
    expect(page.get_by_role("alert")).to_contain_text("500 MB")
    expect(page.get_by_role("alert")).to_contain_text("film.jpg")
    expect(page.locator(".tile-text").first).to_contain_text("red")  # what was there stays
    assert not [address for address in sent if "uploads" in address]
    assert "upload" not in page.url


def test_an_upload_that_the_server_forgot(tab):
    page = tab.open("#/search?upload=gone", "[role=alert]")
    expect(page.get_by_role("alert")).to_contain_text("not there any more")


def test_a_server_that_stops_in_the_middle_of_a_query(tab):
    tab.page.route("**/api/search", lambda route: route.abort("connectionreset"))
    page = tab.open("#/search?text=red", "[role=alert]")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
    page.unroute("**/api/search")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".tile-text").first).to_contain_text("red")


def test_a_page_of_results_that_fails_leaves_the_others(tab):
    fake = FakeSearch(total=5000).on(tab.page)
    page = tab.open("#/search?text=x", ".tile-text")
    page.unroute("**/api/search")
    page.route("**/api/search", lambda route: route.fulfill(status=503, body="{}"))
    page.evaluate("scrollTo(0, 40000)")
    expect(page.get_by_role("alert")).to_contain_text("The server is busy or stopping.")
    page.unroute("**/api/search")
    page.route("**/api/search", fake)
    page.get_by_role("button", name="Try again").click(force=True)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_the_token_is_asked_for_once(new_tab, index):
    tab = new_tab(address_of(Index.open(index.path, colour_encoder()), token=TOKEN))
    page = tab.open(wait="dialog")
    page.get_by_role("textbox", name="Token").fill("another token of tests")
    page.keyboard.press("Enter")
    expect(page.locator("#token-error")).to_contain_text("This is not the server's token.")
    page.get_by_role("textbox", name="Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator("dialog")).to_have_count(0)
    expect(page.locator(".tile-text").first).to_be_visible()
    wait_until(page, "() => [...document.querySelectorAll('.tile img')].every((each) => each.naturalWidth)")
    page.reload()
    expect(page.locator(".tile-text").first).to_be_visible()


def test_a_session_that_ends_in_the_middle_loses_nothing(new_tab, index):
    tab = new_tab(address_of(Index.open(index.path, colour_encoder()), token=TOKEN))
    page = tab.open(wait="dialog")

    def sign_in():
        page.get_by_role("textbox", name="Token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("dialog")).to_have_count(0)

    sign_in()
    page.goto(f"{tab.address}#/review/grid/c%3Ablue")
    expect(page.locator(".judge")).to_have_count(EACH)
    page.locator(".judge").nth(1).click()
    wait_until(page, "() => [...document.querySelectorAll('.judge img')].every((each) => each.complete)")
    page.context.clear_cookies()  # as after thirty days, or where somebody signed out in another tab
    page.get_by_role("button", name="Take the page").click()
    expect(page.get_by_role("textbox", name="Token")).to_be_visible()
    assert index.verdicts("c:blue") == []
    sign_in()
    expect(page.locator(".judge.n")).to_have_count(1)  # what was marked
    expect(page.locator(".judge")).to_have_count(EACH)
    wait_until(page, "() => [...document.querySelectorAll('.judge img')].every((each) => each.complete)")
    page.get_by_role("button", name="Take the page").click()
    expect(page.get_by_role("heading", name="All of its labels are judged")).to_be_visible()
    assert sorted(each.verdict for each in index.verdicts("c:blue")) == ["n", *["y"] * (EACH - 1)]
    for verdict in index.verdicts("c:blue"):
        index.undo_verdict(verdict.id)
    page.goto(f"{tab.address}#/search?text=red")
    expect(page.locator(".tile-text").first).to_be_visible()
    page.context.clear_cookies()
    page.get_by_role("combobox", name="Search images").fill("a green square")
    page.keyboard.press("Enter")
    sign_in()
    expect(page.locator(".tile-text").first).to_contain_text("green")
    assert "text=a+green+square" in page.url


def test_marks_of_a_session_that_ended_are_not_taken_up_by_another_reviewer(new_tab, index):
    tab = new_tab(address_of(Index.open(index.path, colour_encoder()), token=TOKEN))
    page = tab.open(wait="dialog")

    def sign_in():
        page.get_by_role("textbox", name="Token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("dialog")).to_have_count(0)

    def call_oneself(name):
        page.goto(f"{tab.address}#/review")
        page.get_by_role("textbox", name="Reviewer").fill(name)

    sign_in()
    call_oneself("ann")
    page.goto(f"{tab.address}#/review/grid/c%3Ablue")
    page.locator(".judge").nth(1).click()
    wait_until(page, "() => [...document.querySelectorAll('.judge img')].every((each) => each.complete)")
    page.context.clear_cookies()
    page.get_by_role("button", name="Take the page").click()
    expect(page.get_by_role("textbox", name="Token")).to_be_visible()
    page.goto(f"{tab.address}#/review")
    sign_in()
    call_oneself("bob")
    page.goto(f"{tab.address}#/review/grid/c%3Ablue")
    expect(page.locator(".judge")).to_have_count(EACH)
    expect(page.locator(".judge.n")).to_have_count(0)


def test_marks_of_a_session_that_ended_are_named_and_can_be_dropped(new_tab, index):
    tab = new_tab(address_of(Index.open(index.path, colour_encoder()), token=TOKEN))
    page = tab.open(wait="dialog")

    def sign_in():
        page.get_by_role("textbox", name="Token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("dialog")).to_have_count(0)

    sign_in()
    page.goto(f"{tab.address}#/review")
    page.get_by_role("textbox", name="Reviewer").fill("ann")
    page.goto(f"{tab.address}#/review/grid/c%3Ablue")
    page.locator(".judge").nth(1).click()
    wait_until(page, "() => [...document.querySelectorAll('.judge img')].every((each) => each.complete)")
    page.context.clear_cookies()
    page.get_by_role("button", name="Take the page").click()
    sign_in()
    note = page.get_by_role("note").filter(has_text="These marks are of ann")
    expect(note).to_be_visible()
    expect(page.locator(".judge.n")).to_have_count(1)
    note.get_by_role("button", name="Without them").click()
    expect(page.locator(".judge")).to_have_count(EACH)
    expect(page.locator(".judge.n")).to_have_count(0)
    expect(note).to_have_count(0)


def test_an_unknown_address(tab, whole):
    page = tab.open("#/nothing/here", "main h2")
    page.get_by_role("link", name="Go to the search").click()
    expect(page.locator(".count")).to_contain_text(whole)


@pytest.mark.parametrize("by_file", [False, True])
def test_the_printed_address_signs_in_and_the_token_leaves_the_address_bar(new_tab, index, tmp_path, by_file):
    address = address_of(Index.open(index.path, colour_encoder()), no_token=False)
    where, _, token = address.partition("?token=")
    tab = new_tab(address)
    if by_file:  # as `--open` does it, so that no other user sees the token among the processes
        tab.page.goto(redirecting(tmp_path, f"{address}#/search?text=red").as_uri())
        page = tab.page
        page.wait_for_selector(".tile-text")
    else:
        page = tab.open("#/search?text=red", ".tile-text")
    expect(page.get_by_role("textbox", name="Token")).to_have_count(0)
    assert page.url == f"{where}#/search?text=red"
    assert token not in page.evaluate("document.cookie + document.documentElement.outerHTML + location.href")
    wait_until(page, "[...document.querySelectorAll('.tile-slot img')].some(image => image.naturalWidth)")
    page.goto(where)
    page.wait_for_selector(".tile-text")
    assert tab.refusals == 0

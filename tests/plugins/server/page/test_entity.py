"""The page of an entity, and the list of them."""

import pytest
from page_world import EACH, wait_until
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def test_what_is_known_of_it_and_its_images_from_sure_to_doubtful(tab):
    page = tab.open("#/entity/c%3Ared")
    expect(page.get_by_role("heading", level=1)).to_have_text("red")
    expect(page.locator(".aliases")).to_contain_text("crimson")
    expect(page.locator(".counts")).to_contain_text(f"shown in{EACH}")
    page.wait_for_selector(".tile .probability")
    order = [float(text.strip("<>% ")) for text in page.locator(".tile .probability .figure").all_text_contents()]
    assert len(order) == EACH
    assert order == sorted(order, reverse=True)
    page.get_by_role("radio", name="Most doubtful first").check(force=True)
    page.wait_for_url("**order=doubt")
    wait_until(
        page,
        """first => document.querySelector('[data-place="0"] .figure')?.textContent === first""",
        arg=f"{order[-1]:.0f} %",
    )
    page.get_by_role("radio", name="Below the threshold").check(force=True)
    expect(page.locator(".tile .probability").first).to_contain_text("20 %")
    expect(page.get_by_role("heading", name="It may be mistaken for")).to_be_visible()


def test_on_to_search_review_and_an_image(tab):
    page = tab.open("#/entity/c%3Agreen")
    page.locator(".tile-open").first.click()
    expect(page.locator("dialog .facts")).to_contain_text("64 × 48")
    page.reload()
    expect(page.locator("dialog .facts")).to_contain_text("64 × 48")
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("link", name="Search for it").click()
    page.wait_for_url("**/#/search?entity=c%3Agreen")
    page.go_back()
    page.get_by_role("link", name="Review its labels").click()
    page.wait_for_url("**/#/review/grid/c%3Agreen")


def test_the_list_narrows_by_name_and_type(tab):
    page = tab.open("#/entities")
    expect(page.locator(".entity-card")).to_have_count(6)
    page.get_by_label("Name begins with").fill("gr")
    expect(page.locator(".entity-card")).to_have_count(2)
    page.get_by_label("Type").fill("animal")
    expect(page.get_by_role("heading", name="No entity is called so")).to_be_visible()
    assert page.url.endswith("#/entities?prefix=gr&type=animal")


def test_an_unknown_entity_is_explained(tab):
    page = tab.open("#/entity/Q0")
    expect(page.get_by_role("alert")).to_contain_text("knows no entity")
    page.get_by_role("link", name="All entities").click()
    page.wait_for_url("**/#/entities")

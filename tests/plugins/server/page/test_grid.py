"""A hundred thousand results: few nodes, few requests, every place reached, by keys too."""

import pytest
from page_world import FakeSearch, wait_until
from playwright.sync_api import expect

pytestmark = pytest.mark.slow
MOST_NODES = 1500
MOST_GROWTH = 6e6
FOCUSED = "place => document.activeElement.closest('[data-place]')?.dataset.place === place"


def nodes(page):
    return page.evaluate("document.getElementsByTagName('*').length")


def heap(page):
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    session.send("HeapProfiler.collectGarbage")
    return next(
        each["value"] for each in session.send("Performance.getMetrics")["metrics"] if each["name"] == "JSHeapUsedSize"
    )


def test_a_hundred_thousand_results_are_scrolled(tab):
    fake = FakeSearch(total=100_000).on(tab.page)
    page = tab.open("#/search?text=x", ".tile-text")
    expect(page.locator(".count")).to_contain_text("99,916 more below")
    # Sixty frames of a fast scroll, then a rest, twenty times.
    before = heap(page)
    most = page.evaluate("""async () => {
      const end = document.documentElement.scrollHeight, frame = () => new Promise(requestAnimationFrame);
      let most = 0;
      for (let rest = 1; rest <= 20; rest += 1) {
        for (let step = 1; step <= 10; step += 1) {
          scrollTo(0, end * (rest - 1 + step / 10) / 20);
          await frame();
          most = Math.max(most, document.getElementsByTagName("*").length);
        }
        await new Promise((wait) => setTimeout(wait, 90));
      }
      return most;
    }""")
    assert most < MOST_NODES
    assert heap(page) - before < MOST_GROWTH
    assert len(fake.calls) < 100
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    expect(page.locator(".tile-text", has_text="image 100000")).to_be_visible()
    assert nodes(page) < MOST_NODES
    last = page.locator(".tile-slot", has_text="image 100000")
    assert last.get_attribute("aria-posinset") == "100000"
    page.evaluate("scrollTo(0, 0)")
    expect(page.locator(".tile-text").first).to_have_text("image 1")


def test_keys_move_through_the_grid(tab):
    FakeSearch(total=100_000).on(tab.page)
    page = tab.open("#/search?text=x", ".tile-text")
    page.locator(".tile-open").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    wait_until(page, "() => document.activeElement.closest('[data-place]')?.dataset.place > 3")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    wait_until(page, FOCUSED, "0")
    page.keyboard.press("End")
    wait_until(page, FOCUSED, "99999")
    page.keyboard.press("Home")
    wait_until(page, FOCUSED, "0")
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open]")).to_be_visible()
    page.keyboard.press("Escape")
    wait_until(page, "() => document.activeElement.className === 'tile-open'")

"""The screenshots of README and docs, of an index of the sample world: `OPENMOFI_SCREENSHOTS=INDEX pytest …`.

INDEX is `openmofi index build runs/demo/labels …`; what is judged for the screenshot is taken back.
"""

import io
import os
from pathlib import Path

import pytest
from page_world import address_of, wait_until
from PIL import Image
from playwright.sync_api import expect

from openmofi.search import Index

INDEX = os.environ.get("OPENMOFI_SCREENSHOTS", "")
DOCS = Path(__file__).parents[4] / "docs"
MOST_BYTES = 200_000
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not INDEX, reason="$OPENMOFI_SCREENSHOTS names no index")]


def shoot(page, name):
    # Without this, what was clicked last would be framed.
    page.evaluate("() => document.activeElement?.blur()")
    wait_until(page, "() => [...document.images].every((image) => image.complete)")
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    shot.save(DOCS / name, optimize=True)
    assert (DOCS / name).stat().st_size < MOST_BYTES


def test_screenshots(new_tab):
    index = Index.open(INDEX)
    entities = index.entities(limit=8)
    judged, shown = entities[1], entities[0]
    tab = new_tab(address_of(index, rate=0), viewport={"width": 1440, "height": 900})
    tab.page.set_default_timeout(60_000)
    page = tab.open(f"#/search?entity={shown.id.replace(':', '%3A')}", ".bar-line")
    shoot(page, "search.png")
    page = tab.open(f"#/entity/{shown.id.replace(':', '%3A')}", ".tile-text")
    page.wait_for_selector(".probability")
    shoot(page, "entity.png")
    if not len(index.map().images):
        index.make_map()
    page = tab.open("#/map", ".areas")
    page.wait_for_timeout(1000)
    shoot(page, "map.png")
    before = {verdict.id for verdict in index.verdicts()}
    try:
        page = tab.open(f"#/review/single/{judged.id.replace(':', '%3A')}", ".question")
        for number in range(1, 4):
            page.keyboard.press("y")
            expect(page.locator("[data-last]")).to_contain_text(f"{number} label")
        page = tab.open(f"#/review/grid/{judged.id.replace(':', '%3A')}", ".judge")
        page.wait_for_selector(".precision")
        page.locator(".judge").first.click()
        shoot(page, "review.png")
    finally:
        for verdict in index.verdicts():
            if verdict.id not in before:
                index.undo_verdict(verdict.id)

"""The map: points are moved, zoomed, chosen by pointer and keys; areas say it in words; colours can be told apart."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from page_world import EACH, image_row, png
from PIL import Image
from playwright.sync_api import expect
from search_world import COLOURS

import openmofi.plugins.server

pytestmark = pytest.mark.slow
ALL = EACH * len(COLOURS)


@pytest.fixture(scope="module", autouse=True)
def mapped(index):
    index.make_map()


def frame(page):
    canvas = page.locator("canvas")
    return float(canvas.get_attribute("data-zoom")), canvas.get_attribute("data-centre")


def drag(page, path, *, shift=False):
    box = page.locator("canvas").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in path]
    if shift:
        page.keyboard.down("Shift")
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()
    if shift:
        page.keyboard.up("Shift")


def test_it_is_drawn_with_a_legend_and_areas(tab, index):
    page = tab.open("#/map", "canvas")
    expect(page.get_by_text(f"{ALL} images; those that are alike")).to_be_visible()
    assert page.locator(".legend li").all_inner_texts() == [f"colour\n{ALL}"]
    page.wait_for_selector(f"canvas[data-drawn='{ALL}']")
    named = page.locator(".areas a span:first-child").all_inner_texts()
    assert {name for each in named for name in each.split(", ")} == set(COLOURS)
    # Points of the type's colour are on the canvas.
    page.evaluate("document.querySelectorAll('.map-over, .map-tools').forEach((over) => { over.style.display = 'none'; })")
    shot = np.asarray(Image.open(io.BytesIO(page.locator("canvas").screenshot())).convert("RGB"), int)[30:-30, 30:-30]
    pixels = shot.reshape(-1, 3)
    drawn = pixels[np.abs(pixels - 255).max(1) > 8]
    # #bb7755, as near as the edges' smoothing leaves it
    assert len(drawn) > ALL
    assert np.abs(drawn - [187, 119, 85]).max() <= 8


def test_a_lasso_shows_its_images_and_the_address_holds_it(tab, index):
    page = tab.open("#/map", "canvas")
    drag(page, [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99)], shift=True)
    expect(page.get_by_role("heading", name=f"{ALL} images chosen")).to_be_visible()
    page.wait_for_selector(".tile-text")
    plane = index.map()
    left = plane.places[:, 0] < np.median(plane.places[:, 0]) - 0.05
    # The half on the left, through the button instead of Shift.
    page.get_by_role("button", name="Lasso").click()
    box = page.locator("canvas").bounding_box()
    half = (min(box["width"], box["height"]) - 32) / 2
    middle = 0.5 + float(np.median(plane.places[:, 0]) - 0.05) * half / box["width"]
    drag(page, [(0.01, 0.01), (middle, 0.01), (middle, 0.99), (0.01, 0.99)])
    expect(page.get_by_role("heading", name=f"{left.sum()} images chosen")).to_be_visible()
    where = page.url
    page.reload()
    expect(page.get_by_role("heading", name=f"{left.sum()} images chosen")).to_be_visible()
    shown = page.locator(".tile-open").evaluate_all("all => all.map(e => e.getAttribute('aria-label'))")
    texts = {image.text for image in index.images(plane.images[left].tolist())}
    assert set(shown) <= texts
    assert "lasso=" in where
    expect(page.get_by_role("region", name="Selection")).to_contain_text(f"{left.sum()} selected")
    page.get_by_role("button", name="Choose none").click()
    expect(page.locator(".tile-text")).to_have_count(0)
    page.go_back()
    expect(page.get_by_role("heading", name=f"{left.sum()} images chosen")).to_be_visible()
    page.locator(".tile-open").first.click()
    expect(page.locator("dialog .facts")).to_be_visible()


def test_it_moves_and_zooms_by_pointer_and_by_keys(tab):
    page = tab.open("#/map", "canvas")
    canvas = page.locator("canvas")
    whole = frame(page)
    drag(page, [(0.5, 0.5), (0.4, 0.45)])
    moved = frame(page)
    assert moved != whole
    page.mouse.wheel(0, -400)
    page.wait_for_function("Number(document.querySelector('canvas').dataset.zoom) > 2")
    page.get_by_role("button", name="Show all").click()
    assert frame(page) == whole
    canvas.focus()
    for key in ("+", "+", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    zoom, centre = frame(page)
    assert zoom == pytest.approx(1.96)
    assert all(float(value) > 32768 for value in centre.split(","))
    page.keyboard.press("0")
    assert frame(page) == whole
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"{ALL} images chosen")).to_be_visible()


def test_a_point_is_looked_at_and_opened(tab, index):
    page = tab.open("#/map", "canvas")
    plane = index.map()
    box = page.locator("canvas").bounding_box()
    side = min(box["width"], box["height"]) - 32
    x, y = plane.places[0] * [1, -1] * side / 2
    at = (box["x"] + box["width"] / 2 + x, box["y"] + box["height"] / 2 + y)
    page.mouse.move(*at)
    expect(page.locator(".map-near img")).to_be_visible()
    page.mouse.click(*at)
    expect(page.locator("dialog .facts")).to_be_visible()
    assert "show=" in page.url


def test_an_area_is_chosen_by_its_name(tab, index):
    page = tab.open("#/map", "canvas")
    areas = np.bincount(index.map().areas)
    page.locator(".areas a").nth(1).click()
    expect(page.get_by_role("heading", name=f"{areas[1]} images chosen")).to_be_visible()
    expect(page.locator(".areas [aria-current]")).to_have_count(1)
    page.locator(".areas a").nth(1).click()
    expect(page.locator("#chosen")).to_have_count(0)
    page.get_by_role("button", name="colour").click()
    expect(page.get_by_role("button", name="colour")).to_have_attribute("aria-pressed", "true")


def test_without_a_map_it_says_how_to_make_one(tab):
    note = "This index has no map yet. Make it with: openmofi index map INDEX."
    tab.page.route(
        "**/api/map",
        lambda route: route.fulfill(
            json={
                "images": 0,
                "bounds": [0, 0, 65536, 65536],
                "tiles": [],
                "deepest": 12,
                "types": [],
                "other": 0,
                "unlabelled": 0,
                "areas": [],
                "missing": 48,
                "state": 1,
                "note": note,
            }
        ),
    )
    page = tab.open("#/map", ".notice")
    expect(page.get_by_text(note)).to_be_visible()


def test_a_hundred_thousand_points_are_drawn_and_chosen(tab):
    count, draw = 100_000, np.random.default_rng(0)
    types = [{"type": f"type {number}", "images": count // 8} for number in range(6)]
    kinds, areas = draw.integers(0, 8, count), draw.integers(0, 24, count)
    columns = [
        np.arange(1, count + 1, dtype="<f8"),
        *draw.integers(0, 65536, (2, count)).astype("<u2"),
        areas.astype("<u2"),
        kinds.astype("<u1"),
        *np.zeros((2, count), "<u1"),
    ]
    summary = {
        "images": count,
        "bounds": [0, 0, 65536, 65536],
        "tiles": [[0, 0, 0, count]],
        "deepest": 12,
        "types": types,
        "other": int((kinds == 6).sum()),
        "unlabelled": int((kinds == 7).sum()),
        "areas": [{"images": each, "entities": [], "type": "", "x": 9, "y": 9} for each in np.bincount(areas).tolist()],
        "missing": 0,
        "state": 1,
        "note": "",
    }
    page = tab.page
    page.route("**/api/map", lambda route: route.fulfill(json=summary))
    content = b"".join(column.tobytes() for column in columns)
    page.route("**/api/map/tiles/0/0/0?state=1", lambda route: route.fulfill(body=content))
    chosen = {"total": count, "images": list(range(1, count + 1))}
    page.route("**/api/map/chosen", lambda route: route.fulfill(json=chosen))
    page.route(
        "**/api/images",
        lambda route: route.fulfill(json=[image_row(number) for number in route.request.post_data_json]),
    )
    page.route("**/api/images/*/thumbnail*", lambda route: route.fulfill(body=png(), content_type="image/png"))
    page = tab.open("#/map", "canvas")
    assert page.locator(".legend li").count() == 8
    page.wait_for_selector(f"canvas[data-drawn='{count}']", timeout=30_000)
    page.locator("canvas").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="100,000 images chosen")).to_be_visible(timeout=30_000)
    # Only what is on the screen is fetched and in the document.
    page.wait_for_selector(".tile-text")
    assert page.locator(".tile-slot").count() < 200


def test_colours_can_be_told_apart_by_all():
    """Machado, Oliveira and Fernandes 2009, severity 1, in linear RGB; differences in CIELAB; 3 : 1 by WCAG 1.4.11."""
    style = (Path(openmofi.plugins.server.__file__).parent / "page/style/base.css").read_text()
    seen = [
        np.eye(3),
        np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
        np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]),
        np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]),
    ]
    schemes = re.findall(r"--surface: (#\w+);.*?(--map-1.*?--map-rest: #\w+);", style, re.DOTALL)
    assert len(schemes) == 2
    for surface, declared in schemes:
        colours = np.stack([linear(value) for value in re.findall(r"#\w{6}", declared)])
        back = linear(surface)
        assert len(colours) == 7
        for colour in colours:
            low, high = sorted([luminance(colour), luminance(back)])
            assert (high + 0.05) / (low + 0.05) >= 3
        for matrix in seen:
            lab = cielab(np.clip(colours @ matrix.T, 0, 1))
            apart = np.linalg.norm(lab[:, None] - lab, axis=2)[np.triu_indices(7, 1)]
            assert apart.min() > 25


def linear(value):
    digits = value[1:] if len(value) == 7 else "".join(2 * digit for digit in value[1:])
    channels = np.array([int(digits[at : at + 2], 16) for at in (0, 2, 4)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    return float(colour @ [0.2126, 0.7152, 0.0722])


def cielab(colours):
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = colours @ to_xyz.T / [0.9505, 1, 1.089]
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1]), 200 * (root[:, 1] - root[:, 2])], 1)

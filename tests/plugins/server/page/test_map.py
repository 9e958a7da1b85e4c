"""The map: points are moved, zoomed, chosen by pointer and keys; areas say it in words; colours can be told apart."""

import io
import re
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
from page_world import EACH, image_row, png, wait_for, wait_until
from PIL import Image
from playwright.sync_api import expect
from search_world import COLOURS

import openmofi.plugins.server
from openmofi.search import Query, Verdict

pytestmark = pytest.mark.slow
ALL = EACH * len(COLOURS)


@pytest.fixture(scope="module", autouse=True)
def mapped(index):
    index.make_map()


def frame(page):
    canvas = page.locator("canvas")
    return float(canvas.get_attribute("data-zoom")), canvas.get_attribute("data-centre")


def fitted(index, box):
    """Pixels of a unit of the map, when all of it is shown."""
    width, height = np.ptp(index.map().places, axis=0)
    return min((box["width"] - 32) / width, (box["height"] - 32) / height)


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


# As if a graphics card drew, whatever does.
CARD = """const get = WebGL2RenderingContext.prototype.getParameter;
WebGL2RenderingContext.prototype.getParameter = function (name) {
  return name === 0x9246 ? "card" : get.call(this, name);
};"""


@pytest.mark.parametrize("painter", ["webgl2", "2d"])
def test_it_is_drawn_with_a_legend_and_areas(tab, index, painter):
    if painter == "webgl2":
        tab.page.add_init_script(CARD)
    page = tab.open("#/map", "canvas")
    expect(page.get_by_text(f"{ALL} images; those that are alike")).to_be_visible()
    assert page.locator(".legend li").all_inner_texts() == [f"colour\n{ALL}"]
    page.wait_for_selector(f"canvas[data-drawn='{ALL}']")
    named = page.locator(".areas a span:first-child").all_inner_texts()
    assert {name for each in named for name in each.split(", ")} == set(COLOURS)
    page.evaluate(
        "document.querySelectorAll('.map-over, .map-tools').forEach((over) => { over.style.display = 'none'; })"
    )
    shot = np.asarray(Image.open(io.BytesIO(page.locator("canvas").screenshot())).convert("RGB"), int)[30:-30, 30:-30]
    assert page.evaluate("(kind) => document.querySelector('canvas').getContext(kind) !== null", painter)
    # #bb7755 on white, and mixtures of both where a point ends between two pixels
    shares = (255 - shot.reshape(-1, 3)) / (255 - np.array([187, 119, 85]))
    assert (shares.min(1) > 0.95).sum() > ALL
    assert np.abs(shares - shares.mean(1, keepdims=True)).max() < 0.05


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
    wait_until(page, "Number(document.querySelector('canvas').dataset.zoom) > 2")
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


def test_the_frame_is_in_the_address_and_back_leads_to_the_last_one(tab):
    page = tab.open("#/map", "canvas[data-drawn]")
    whole = frame(page)
    page.locator("canvas").focus()
    for key in ("+", "+", "ArrowRight"):
        page.keyboard.press(key)
    page.wait_for_url("**at=*")
    near = frame(page)
    assert near != whole
    page.reload()
    page.wait_for_selector("canvas[data-drawn]")
    assert frame(page) == near
    page.keyboard.press("Tab")
    page.locator("canvas").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#chosen")
    page.keyboard.press("0")
    page.wait_for_url(lambda url: "lasso=" in url and "at=" not in url)
    # Moving is no step in the history, choosing is one.
    page.go_back()
    page.wait_for_selector(f"canvas[data-zoom='{near[0]:.2f}']")
    assert frame(page) == near
    expect(page.locator("#chosen")).to_have_count(0)
    page = tab.open("#/map?at=1,2&lasso=1,2;x&area=99&colour=toString", "canvas[data-drawn]")
    assert frame(page) == whole
    expect(page.locator("#chosen")).to_have_count(0)


def test_an_area_keeps_colours_what_is_marked_and_the_frame(tab):
    page = tab.open("#/map?colour=verdict&text=red&at=30000,30000,2.5&lasso=1,2;3,4;5,0", "canvas[data-drawn]")
    page.locator(".areas a").nth(1).click()
    page.wait_for_url("**area=1*")
    kept = parse_qs(page.url.partition("?")[2])
    assert kept == {"colour": ["verdict"], "text": ["red"], "at": ["30000,30000,2.5"], "area": ["1"]}
    page.locator(".areas a[aria-current]").click()
    page.wait_for_url(lambda url: "area=" not in url)
    assert parse_qs(page.url.partition("?")[2]) == {each: kept[each] for each in ("colour", "text", "at")}


def test_two_fingers_zoom_and_move(new_tab):
    tab = new_tab(has_touch=True)
    page = tab.open("#/map", "canvas[data-drawn]")
    box = page.locator("canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        points = [{"x": x + across, "y": y + down, "id": number} for number, (across, down) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    whole = frame(page)
    touch("touchStart", (-40, 0))
    touch("touchStart", (-40, 0), (40, 0))
    for apart in range(50, 130, 10):
        touch("touchMove", (-apart, 0), (apart, 0))
    page.wait_for_selector("canvas[data-zoom='3.00']")
    assert frame(page)[1] == whole[1]
    touch("touchMove", (-80, 30), (160, 30))
    touch("touchEnd")
    expect(page.locator("canvas")).not_to_have_attribute("data-centre", whole[1])
    # What lay between the fingers still does: the middle of the map is now 40 to the right, 30 further down.
    zoom, centre = frame(page)
    assert zoom == pytest.approx(3)
    shift = [float(after) - float(before) for after, before in zip(centre.split(","), whole[1].split(","), strict=True)]
    assert shift[0] / shift[1] == pytest.approx(40 / 30, abs=0.02)
    assert shift[0] < 0


def test_near_images_are_shown_and_areas_named(tab, index):
    page = tab.open("#/map", "canvas[data-drawn]")
    page.wait_for_selector(".map-image img")
    assert 0 < page.locator(".map-image").count() <= ALL
    boxes = [each.bounding_box() for each in page.locator(".map-image").all()]
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            assert max(abs(one["x"] - other["x"]), abs(one["y"] - other["y"])) >= one["width"]
    assert set(page.locator(".map-name").all_inner_texts()) <= set(COLOURS)
    assert page.locator(".map-name").count() > 1


def test_colours_are_also_of_probabilities_and_verdicts(tab, index):
    image = index.images([1])[0]
    given = index.add_verdicts([Verdict(image.shard, image.key, "c:red", "n")])
    page = tab.open("#/map", "canvas[data-drawn]")
    page.get_by_label("Colours").select_option("verdict")
    expect(page.locator(".legend li")).to_have_text(["right", "wrong", "unsure", "not judged"])
    assert "colour=verdict" in page.url
    page.wait_for_selector(".map-image")
    # The borders of thumbnails are of the colour of the image: --map-6 where it is wrong.
    colours = page.locator(".map-image").evaluate_all(
        "all => all.map(each => [each.querySelector('img').src, getComputedStyle(each).borderColor])"
    )
    assert len(colours) > 1
    for source, colour in colours:
        assert source.endswith("/images/1/thumbnail") == (colour == "rgb(255, 85, 0)")
    page.get_by_label("Colours").select_option("probability")
    expect(page.locator(".legend li")).to_have_count(5)
    index.undo_verdict(given[0].id)


def test_a_search_is_marked(tab, index):
    page = tab.open("#/search?entity=c%3Ared", ".tile-text")
    page.get_by_role("link", name="On the map").click()
    page.wait_for_selector(".map-over circle")
    asked = index.search(Query(entity="c:red", limit=500))
    likely = asked.hits[: asked.end or 100]
    assert page.locator(".map-over circle").count() == len(likely)
    places = dict(zip(index.map().images.tolist(), index.map().places.tolist(), strict=True))
    box = page.locator("canvas").bounding_box()
    half = fitted(index, box)
    middle = (index.map().places.max(0) + index.map().places.min(0)) / 2
    drawn = page.locator(".map-over circle").evaluate_all(
        "all => all.map(e => [e.cx.baseVal.value, e.cy.baseVal.value])"
    )
    expected = [(np.array(places[hit.image.id]) - middle) * [1, -1] * half for hit in likely]
    expected = np.array(expected) + [box["width"] / 2, box["height"] / 2]
    np.testing.assert_allclose(sorted(drawn), sorted(expected.tolist()), atol=1)
    page.get_by_role("button", name="Mark none").click()
    expect(page.locator(".map-over circle")).to_have_count(0)


def test_without_webgl_it_is_drawn_on_a_plain_canvas(tab, index):
    tab.page.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...more) "
        "{ return kind === 'webgl2' ? null : get.call(this, kind, ...more); };"
    )
    page = tab.open("#/map", f"canvas[data-drawn='{ALL}']")
    drawn = page.evaluate("""() => {
      const canvas = document.querySelector("canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const seen = new Set();
      for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] === 255) seen.add([data[at], data[at + 1], data[at + 2]].join());
      }
      return [...seen];
    }""")
    assert drawn == ["187,119,85"]


def point_of(page, index):
    """Return where on the page the map's first image is drawn at zoom 1, and a pattern of addresses of images there.

    The images of a colour are so alike that they share a point.
    """
    box, plane = page.locator("canvas").bounding_box(), index.map()
    middle = (plane.places.max(0) + plane.places.min(0)) / 2
    centre = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    pixels = (plane.places - middle) * [1, -1] * fitted(index, box) + centre
    images = plane.images[np.linalg.norm(pixels - pixels[0], axis=1) < 1]
    return pixels[0].tolist(), re.compile(rf"/images/({'|'.join(map(str, images))})/")


def held_tiles(page):
    """Hold back the answers to requests for tiles. Return the list of the requests' routes, which grows."""
    routes = []
    page.route("**/map/tiles/**", lambda route: routes.append(route))
    return routes


def let_go(page, routes):
    """Answer the requests that were held back, and wait until all marks are drawn."""
    for route in routes:
        route.continue_()
    page.wait_for_selector(f"canvas[data-drawn='{ALL}']")


def test_a_point_is_looked_at_and_opened(tab, index):
    page = tab.open("#/map", f"canvas[data-drawn='{ALL}']")
    at, address = point_of(page, index)
    page.mouse.move(*at)
    expect(page.locator(".map-near img")).to_have_attribute("src", address)
    expect(page.locator(".map-near img")).to_be_visible()
    page.mouse.click(*at)
    expect(page.locator("dialog .facts")).to_be_visible()
    assert "show=" in page.url


def test_a_point_is_shown_under_a_pointer_that_rested_there_before_it_came(tab, index):
    routes = held_tiles(tab.page)
    page = tab.open("#/map", "canvas")
    at, address = point_of(page, index)
    page.mouse.move(*at)
    wait_for(page, lambda: routes)
    expect(page.locator(".map-near")).to_have_count(0)
    let_go(page, routes)
    expect(page.locator(".map-near img")).to_have_attribute("src", address)


def test_no_point_is_shown_under_a_pointer_that_left_before_it_came(tab, index):
    routes = held_tiles(tab.page)
    page = tab.open("#/map", "canvas")
    page.mouse.move(*point_of(page, index)[0])
    wait_for(page, lambda: routes)
    page.mouse.move(1, 1)
    let_go(page, routes)
    page.wait_for_selector(".map-image")
    expect(page.locator(".map-near")).to_have_count(0)


def test_a_zoom_under_a_resting_pointer_changes_what_is_shown(tab, index):
    page = tab.open("#/map", f"canvas[data-drawn='{ALL}']")
    at, first = point_of(page, index)
    near = page.locator(".map-near img")
    page.mouse.move(*at)
    expect(near).to_have_attribute("src", first)
    page.mouse.wheel(0, -400)
    page.wait_for_selector("canvas[data-zoom='2.72']")
    expect(near).to_have_attribute("src", first)
    page.locator("canvas").focus()
    # A zoom by key leaves the centre where it is: the point moves away, and no other comes to the pointer.
    page.keyboard.press("0")
    page.keyboard.press("+")
    page.wait_for_selector("canvas[data-zoom='1.40']")
    expect(near).to_have_count(0)
    page.keyboard.press("0")
    expect(near).to_have_attribute("src", first)


def test_a_press_opens_the_point_that_came_before_its_release(tab, index):
    routes = held_tiles(tab.page)
    page = tab.open("#/map", "canvas")
    page.mouse.move(*point_of(page, index)[0])
    page.mouse.down()
    wait_for(page, lambda: routes)
    let_go(page, routes)
    page.mouse.up()
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

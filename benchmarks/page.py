"""What the first look at the page costs, and how long frames of a map of two million images take, in Chromium.

    python benchmarks/page.py INDEX [--images 2000000]

The line of the first look is simulated by Chromium: 400 ms there and back, 50 KB a second. Bytes are those of the
network, headers among them. Seconds are from the address to the first image. The map is of made-up clusters, whose rows
are inserted directly; it is dragged and zoomed for ten seconds, and a frame is what lies between two callbacks of
`requestAnimationFrame`. `--images 0` measures the first look alone.
"""

from __future__ import annotations

import argparse
import math
import queue
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import harness
from openmofi.plugins.map.tsne import areas_of, write_places
from openmofi.plugins.server import ServeSettings, serve
from openmofi.search import Index
from openmofi.search.store.database import only_writer, transaction
from openmofi.search.store.vectors import FOLDER, VectorFiles, note_segment

LATENCY_MS, BYTES_A_SECOND, ROUNDS = 400, 50_000, 5
CLUSTERS, SECONDS = 300, 10


def first_load(browser: Any, address: str) -> dict[str, float]:
    """Open the page once, in a browser that has seen nothing of it.

    Returns:
        `requests` and `kb` of the page itself, `image_requests` and `image_kb`, `seconds` to the first image.
    """
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    line.send(
        "Network.emulateNetworkConditions",
        {
            "offline": False,
            "latency": LATENCY_MS,
            "downloadThroughput": BYTES_A_SECOND,
            "uploadThroughput": BYTES_A_SECOND,
        },
    )
    asked: dict[str, str] = {}
    figures = {"requests": 0.0, "kb": 0.0, "image_requests": 0.0, "image_kb": 0.0}
    line.on("Network.responseReceived", lambda event: asked.update({event["requestId"]: event["response"]["url"]}))

    def ended(event: dict[str, Any]) -> None:
        asked_for = asked.get(event["requestId"], "")
        if asked_for.startswith("data:"):  # in what was loaded before
            return
        kind = "image_" if "/thumbnail" in asked_for else ""
        figures[f"{kind}requests"] += 1
        figures[f"{kind}kb"] += event["encodedDataLength"] / 1000

    line.on("Network.loadingFinished", ended)
    started = time.perf_counter()
    page.goto(address)
    page.locator(".tile img").first.wait_for(timeout=120_000)
    seconds = time.perf_counter() - started
    page.wait_for_load_state("networkidle", timeout=120_000)
    page.context.close()
    return figures | {"seconds": seconds}


def mapped_index(folder: Path, images: int) -> Path:
    """An index whose images have vectors of four numbers, a label, and a place on the map in one of 300 clusters."""
    draw = np.random.default_rng(0)
    new = {"encoder": "custom:none", "fingerprint": "0", "dim": "4", "dtype": "float16", "template": "{name}"}
    sizes = draw.pareto(1, CLUSTERS) + 1
    cluster = draw.choice(CLUSTERS, images, p=sizes / sizes.sum())
    centres, widths = draw.uniform(-0.9, 0.9, (CLUSTERS, 2)), draw.uniform(0.005, 0.06, (CLUSTERS, 1))
    places = (centres[cluster] + draw.normal(size=(images, 2)) * widths[cluster]).clip(-1, 1)
    probabilities = draw.uniform(0.5, 1, images)
    (folder / FOLDER).mkdir(parents=True)
    with only_writer(folder, new) as connection:
        with transaction(connection):
            connection.execute("INSERT INTO sources VALUES (1, '/nowhere', 'nowhere', '', '{}', '')")
            vectors = VectorFiles(folder).write(np.full((images, 4), 0.5, np.float32), "float16")
            number = note_segment(connection, *vectors)
            connection.executemany(
                "INSERT INTO images VALUES (?, 1, ?, 0, 'ok', ?, 64, 48, 0, '', '', '{}', NULL, -1, 0, -1, ?, ?)",
                ((row + 1, f"{row:07}", f"{row:032x}", number, row) for row in range(images)),
            )
            entities = [(f"e{each}", each, f"entity {each}", "", 0.0) for each in range(CLUSTERS)]
            connection.executemany("INSERT INTO entities VALUES (?, ?, ?, ?, ?)", entities)
            connection.executemany(
                "INSERT INTO types VALUES (?, ?)", [(each[0], f"t{each[1] % 9}") for each in entities]
            )
            connection.executemany(
                "INSERT INTO labels VALUES (?, ?, ?, 1, 0.5)",
                ((row + 1, f"e{cluster[row]}", probabilities[row]) for row in range(images)),
            )
        write_places(connection, np.arange(1, images + 1), places, areas_of(places, 0), 0)
    return folder


WATCH = """() => { const seen = window.seen = { frames: [], marks: 0, drawn: 0 }; let last = 0;
  const step = (time) => { const { marks = 0, drawn = 0 } = document.querySelector("canvas")?.dataset ?? {};
    if (last) seen.frames.push(time - last);
    seen.marks = Math.max(seen.marks, Number(marks)); seen.drawn = Math.max(seen.drawn, Number(drawn));
    last = time; requestAnimationFrame(step); };
  requestAnimationFrame(step); }"""


def moved(page: Any, box: dict[str, float]) -> dict[str, Any]:
    """Drag and zoom for ten seconds what is in a box; the frames meanwhile."""
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.evaluate(WATCH)
    end, turn = time.perf_counter() + SECONDS, 0
    while time.perf_counter() < end:
        turn += 1
        page.mouse.move(*middle)
        for _ in range(12):
            page.mouse.wheel(0, -70 if turn % 2 else 70)
            page.wait_for_timeout(10)
        page.mouse.down()
        for step in range(60):
            angle = step / 60 * 2 * math.pi
            page.mouse.move(middle[0] + 150 * math.sin(angle), middle[1] + 100 * math.cos(angle))
        page.mouse.up()
    return page.evaluate("() => window.seen")


CARD = """const get = WebGL2RenderingContext.prototype.getParameter;
WebGL2RenderingContext.prototype.getParameter = function (name) {
  return name === 0x9246 ? "card" : get.call(this, name);
};"""


def map_frames(browser: Any, address: str, card: bool = False) -> dict[str, float]:
    """Move a map, and then a page without anything, as a measure of what else the machine does.

    Args:
        browser: of Playwright.
        address: of the server.
        card: let the page believe that a graphics card draws, and so use WebGL, whatever imitates one.

    Returns:
        `open_seconds` until all is drawn that a view may show, `frame_ms_p50`, `frame_ms_p95`, `frames`,
        `marks_a_frame` and `marks_a_view` at most, `blank_frame_ms_p95` of the empty page.
    """
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    if card:
        page.add_init_script(CARD)
    started = time.perf_counter()
    page.goto(f"{address}#/map")
    page.wait_for_selector("canvas[data-drawn]", timeout=300_000)
    page.wait_for_load_state("networkidle")
    opened = time.perf_counter() - started
    box = page.locator("canvas").bounding_box()
    seen = moved(page, box)
    page.goto(f"{address}healthz")
    blank = moved(page, box)["frames"]
    page.context.close()
    p50, p95 = np.percentile(seen["frames"], [50, 95]).tolist()
    return {
        "open_seconds": opened,
        "frame_ms_p50": p50,
        "frame_ms_p95": p95,
        "frames": len(seen["frames"]),
        "marks_a_frame": seen["marks"],
        "marks_a_view": seen["drawn"],
        "blank_frame_ms_p95": float(np.percentile(blank, 95)),
    }


def served(index: Path) -> str:
    """Where a server over an index listens, until this process ends."""
    started: queue.Queue[str] = queue.Queue()
    settings = ServeSettings(port=0, no_token=True)
    arguments = (Index.open(index), settings)
    threading.Thread(target=serve, args=arguments, kwargs={"on_start": started.put}, daemon=True).start()
    return started.get(timeout=60)


def main() -> None:
    """Measure, print and write `results/page.json`."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--images", type=int, default=2_000_000, help="on the map")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        address = served(Path(shutil.copytree(given.index, Path(folder) / "index")))
        rounds = [first_load(browser, address) for _ in range(ROUNDS)]
        maps = {}
        if given.images:
            address = served(mapped_index(Path(folder) / "map", given.images))
            maps = {painter: map_frames(browser, address, painter == "webgl") for painter in ("pixels", "webgl")}
        browser.close()
    row = {name: round(statistics.median(each[name] for each in rounds), 1) for name in rounds[0]}
    moves = [
        {
            "contender": f"map, {painter}",
            "images": given.images,
            **{name: round(value, 1) for name, value in frames.items()},
        }
        for painter, frames in maps.items()
    ]
    ratios = {"first_load_requests": row["requests"], "first_load_kb": row["kb"]}
    if moves:
        ratios["map_frame_ms_p95_2m"] = moves[0]["frame_ms_p95"]
    harness.write_result("page", [{"contender": "first look", **row}, *moves], ratios, keeps=True)


if __name__ == "__main__":
    main()

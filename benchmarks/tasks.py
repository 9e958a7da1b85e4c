"""Ten everyday tasks in Chromium by a script, on our page and on peers': gestures, and seconds.

    python benchmarks/tasks.py INDEX [--atlas PROGRAM] [--lightly PYTHON] [--shots FOLDER]

INDEX is that of `make demo`, with a map (`openmofi index map`). Each task begins where the page has just been opened,
`ROUNDS` times over. Gestures are clicks (a look by the pointer counts as one), keys and drags; scrolling isn't counted.
Seconds are those of the keystroke-level model (Card, Moran and Newell 1983: a key .28, pointing 1.1, a press .2, 1.35
before each step that is decided on) and what is really waited for until the result is seen: the median of the rounds,
on this machine. PROGRAM is `embedding-atlas` (PyPI; Apple, MIT) in an environment of its own: it shows the same images
as a table with their texts, labels, types, files, neighbours and the same map, so that all that the index knows is
there. PYTHON is that of an environment with `lightly-studio` (PyPI; Lightly, Apache-2.0), which is given the same, and
the index's vectors. What is not done there is `null`, with the reason in `why`. Of peers that aren't given the rows of
before stay.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import harness
from openmofi.search import Index
from page import served
from tasks_parts import atlas, lightly, ours
from tasks_parts.hand import PATIENCE, Hand
from tasks_parts.world import World, table_of

ROUNDS = 3
Way = Callable[[Hand, World], str]


def done(browser: Any, address: str, ready: str, way: Way, shot: Path | None) -> Hand:
    """A task, done once in a browser that has seen nothing of the page."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True).new_page()
    page.goto(address)
    page.locator(ready).first.wait_for(timeout=PATIENCE)
    page.wait_for_load_state("networkidle")
    hand = Hand(page)
    told = way(hand, World())
    if not told.strip():
        raise SystemExit(f"{way.__name__}: nothing was seen")
    if shot:
        page.screenshot(path=shot)
        print(f"{shot.name}: {' '.join(told.split())[:100]}", flush=True)
    page.context.close()
    return hand


def measured(
    browser: Any, name: str, address: str, ready: str, ways: Mapping[str, Way | str], shots: Path | None
) -> dict[str, harness.Row]:
    """Task → what it takes on a page, or why it cannot be done there."""
    rows: dict[str, harness.Row] = {}
    for place, (task, way) in enumerate(ways.items()):
        if isinstance(way, str):
            rows[task] = {"gestures": None, "why": way}
            continue
        shot = shots / f"{name}-{place}.png" if shots else None
        hands = [done(browser, address, ready, way, None if turn else shot) for turn in range(ROUNDS)]
        last = hands[-1]
        rows[task] = {
            "gestures": last.gestures,
            "clicks": last.clicks,
            "keys": last.keys,
            "drags": last.drags,
            "waited": round(statistics.median(hand.waited for hand in hands), 2),
            "seconds": round(statistics.median(hand.seconds for hand in hands), 1),
        }
        print(name, task, rows[task], flush=True)
    return rows


def main() -> None:
    """Measure, print and write `results/tasks.json`."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--atlas", type=Path, help="the program embedding-atlas")
    parser.add_argument("--lightly", type=Path, help="the Python of an environment with lightly-studio")
    parser.add_argument("--shots", type=Path, help="a folder for pictures of each task's end")
    given = parser.parse_args()
    if given.shots:
        given.shots.mkdir(parents=True, exist_ok=True)
    pages: dict[str, dict[str, harness.Row]] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        copy = Path(shutil.copytree(given.index, Path(folder) / "index"))
        index = Index.open(copy)
        table = table_of(index, Path(folder) / "images.parquet")
        if given.atlas:
            with atlas.served(given.atlas, table) as address:
                pages["embedding-atlas"] = measured(browser, "atlas", address, atlas.READY, atlas.WAYS, given.shots)
        if given.lightly:
            with lightly.served(given.lightly, table, index, Path(folder) / "lightly") as address:
                pages["lightly"] = measured(browser, "lightly", address, lightly.READY, lightly.WAYS, given.shots)
        pages["openmofi"] = measured(browser, "ours", served(copy), ours.READY, ours.WAYS, given.shots)
        browser.close()
    rows = [
        {"contender": f"{task}, {page}", "task": task, "page": page, **row}
        for page, tasks in pages.items()
        for task, row in tasks.items()
    ]
    harness.write_result("tasks", rows, _ratios(pages), keeps=True)


def _ratios(pages: Mapping[str, Mapping[str, harness.Row]]) -> dict[str, float]:
    """How many tasks each page does, and how much less ours takes for those that a peer does too."""
    doing = {page: [task for task, row in tasks.items() if row["gestures"]] for page, tasks in pages.items()}
    ratios = {f"tasks_{page}": float(len(tasks)) for page, tasks in doing.items()}
    for page in pages.keys() - {"openmofi"}:
        for figure in ("gestures", "seconds"):
            ours, theirs = (sum(pages[each][task][figure] for task in doing[page]) for each in ("openmofi", page))
            ratios[f"{figure}_over_{page.removeprefix('embedding-')}"] = ours / theirs
    return ratios


if __name__ == "__main__":
    main()

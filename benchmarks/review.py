"""How fast labels are judged on the page, and how many verdicts tell their precision: by a scripted reader.

    python benchmarks/review.py INDEX --truth DEMO/world/truth.parquet --kb DEMO/kb

The reader drives the page of `openmofi serve` in Chromium over a copy of the index, and knows what each image shows. It
judges grids of entities (marks what is wrong by clicks, then by keys, and takes the page by Enter) and labels one by
one. What a label costs is counted in the browser: clicks, key presses, images that are seen, words that are read.
Seconds are a model of these counts, not this machine's clock: Card, Moran and Newell's operators ("The psychology of
human-computer interaction", 1983).
"""

from __future__ import annotations

import argparse
import json
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

import harness
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.server import ServeSettings, serve
from openmofi.search import Index, Verdict
from openmofi.search.verdicts import precision, to_judge
from studies.world.ends import Shown, read_truth

KEY, POINT, CLICK, FIXATION, DECISION, WORD, THINK = 0.28, 1.1, 0.2, 0.23, 0.07, 0.25, 1.35
"""Seconds: a key; pointing at a target; press and release; a glance at an image; recognising what it is; reading a word
(240 a minute); a mental operation."""
_COUNTING = """
window.done = {click: 0, keydown: 0};
for (const kind of ["click", "keydown"])
  // A button that is pressed by a key is clicked, too, without a count of clicks.
  addEventListener(kind, (event) => {
    window.done[kind] += event.isTrusted && (kind !== "click" || event.detail > 0);
  }, true);
"""
_SEEN = "() => [...document.querySelectorAll('.judge img')].every((each) => each.complete)"
WITHIN = 0.02


@dataclass
class Work:
    """What was done.

    Attributes:
        labels: that were judged.
        clicks, keys: of the reader.
        words: that were read beside images.
        pages: of grids; each label one by one is one.
    """

    labels: int = 0
    clicks: int = 0
    keys: int = 0
    words: int = 0
    pages: int = 0

    def figures(self) -> dict[str, Any]:
        """The counts, and labels a minute: by the model, and where each image takes a mental operation."""
        hands = self.keys * KEY + self.clicks * (POINT + CLICK)
        glance = self.labels * (FIXATION + DECISION) + self.words * WORD + self.pages * THINK
        slow = self.labels * THINK + self.words * WORD + self.pages * THINK
        return {
            **asdict(self),
            "labels a minute": round(60 * self.labels / (hands + glance), 1),
            "labels a minute, a mental operation an image": round(60 * self.labels / (hands + slow), 1),
        }


class Reader:
    """Judges by the truth, with the page's own keys and clicks."""

    def __init__(self, page: Any, address: str, index: Index, truth: Mapping[int, Shown]) -> None:
        self.page, self.address, self.index, self.truth = page, address, index, truth

    def shows(self, image: int, entity: str) -> bool:
        """Whether it does."""
        return image in self.truth and entity in self.truth[image].entities

    def grid(self, entity: str, most: int, *, by_keys: bool) -> Work:
        """Judge up to so many pages of an entity's labels."""
        work = Work()
        self._open(f"#/review/grid/{quote(entity, safe='')}", ".judge")
        while work.pages < most and (tiles := self._images(".judge img")):
            self._until_other(lambda: self.page.evaluate(_SEEN), False)  # the page takes no labels that nobody saw
            wrong = [place for place, image in enumerate(tiles) if not self.shows(image, entity)]
            if by_keys:
                self._mark_by_keys(len(tiles), wrong)
            else:
                for place in wrong:
                    self.page.locator(".judge").nth(place).click()
            self.page.keyboard.press("Enter")
            self._until_other(lambda: self._images(".judge img"), tiles)
            work.labels, work.pages = work.labels + len(tiles), work.pages + 1
        return self._counted(work)

    def _mark_by_keys(self, count: int, wrong: list[int]) -> None:
        self.page.locator(".judge").first.focus()
        columns = (
            self.page.evaluate(
                "() => { const [first, ...rest] = document.querySelectorAll('.judge'); const top = first.offsetTop;"
                " return 1 + rest.findIndex((each) => each.offsetTop !== top); }"
            )
            or count
        )
        at = 0
        for place in wrong:
            down, across = place // columns - at // columns, place % columns - at % columns
            for key, times in (("ArrowDown", down), ("ArrowRight", across), ("ArrowLeft", -across)):
                for _ in range(max(times, 0)):
                    self.page.keyboard.press(key)
            self.page.keyboard.press("n")
            at = place

    def single(self, labels: int) -> Work:
        """Judge so many labels one by one, those that tell most."""
        work = Work()
        self._open("#/review/single", ".question")
        for _ in range(labels):
            image, entity = asked = self._asked()
            work.words += len(self.page.locator(".caption").first.inner_text().split())
            self.page.keyboard.press("y" if self.shows(image, entity) else "n")
            self._until_other(self._asked, asked)
        work.labels = work.pages = labels
        return self._counted(work)

    def _asked(self) -> tuple[int, str]:
        """The image and the entity of the question."""
        if not (images := self._images(".single .stage img")):
            return -1, ""
        entity = self.page.locator(".question a").get_attribute("href")
        return images[0], unquote(entity.rpartition("/")[2])

    def _images(self, selector: str) -> list[int]:
        sources = self.page.eval_on_selector_all(selector, "(all) => all.map((each) => each.src)")
        return [int(source.partition("/images/")[2].partition("/")[0]) for source in sources]

    def _open(self, where: str, wait: str) -> None:
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}{where}")
        self.page.wait_for_selector(wait)

    def _counted(self, work: Work) -> Work:
        done = self.page.evaluate("window.done")
        work.clicks, work.keys = done["click"], done["keydown"]
        return work

    def _until_other(self, look: Callable[[], object], before: object, tries: int = 1500) -> None:
        for _ in range(tries):
            self.page.wait_for_timeout(20)
            if look() not in (before, (-1, "")):
                return
        raise SystemExit("The page did not answer.")


def summed(parts: list[Work]) -> Work:
    """All of them."""
    return Work(*(sum(getattr(part, name) for part in parts) for name in asdict(Work())))


def drawn_entities(index: Index, count: int, least: int = 6) -> list[str]:
    """Entities with so many labels at least, by chance."""
    rows = index.connection.execute(
        "SELECT entity FROM labels WHERE accepted = 1 GROUP BY entity HAVING count(*) >= ? ORDER BY entity", (least,)
    ).fetchall()
    chosen = np.random.default_rng(0).permutation(len(rows))[:count]
    return [rows[place][0] for place in sorted(chosen.tolist())]


def speeds(index: Index, truth: Mapping[int, Shown], entities: int, labels: int) -> dict[str, Any]:
    """Of the three ways, in Chromium."""
    from playwright.sync_api import sync_playwright

    started: queue.Queue[str] = queue.Queue()
    threading.Thread(
        target=serve, args=(index, ServeSettings(port=0, no_token=True)), kwargs={"on_start": started.put}, daemon=True
    ).start()
    address = started.get(timeout=60)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    figures = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(viewport={"width": 1200, "height": 800}).new_page()
        page.add_init_script(_COUNTING)
        reader = Reader(page, address, index, truth)
        for name, by_keys in (("grid, wrong ones clicked", False), ("grid, by keys", True)):
            index.connection.execute("DELETE FROM verdicts")
            figures[name] = summed(
                [reader.grid(entity, 3, by_keys=by_keys) for entity in drawn_entities(index, entities)]
            ).figures()
        index.connection.execute("DELETE FROM verdicts")
        figures["one by one"] = reader.single(labels).figures()
        browser.close()
    return figures


def verdicts_needed(index: Index, truth: Mapping[int, Shown], draws: int, most: int, step: int = 20) -> dict[str, Any]:
    """How many verdicts, drawn as the page draws what tells most, bring the labels' precision within ±.02.

    `near`: from so many on the estimate stays within .02 of the truth; `narrow`: the interval is .04 wide; of draws
    that did not come so far, `most` counts. Medians over draws, and the greatest (`worst`).
    """
    labels = index.connection.execute("SELECT image, entity, probability FROM labels WHERE accepted = 1").fetchall()
    known = [(entity in truth[image].entities, probability) for image, entity, probability in labels if image in truth]
    true, expected = (float(np.mean(column)) for column in zip(*known, strict=True))
    near, narrow, held = [], [], []
    for draw in range(draws):
        index.connection.execute("DELETE FROM verdicts")
        errors, widths = [], []
        for _ in range(0, most, step):
            index.add_verdicts(
                [
                    Verdict(
                        each.image.shard,
                        each.image.key,
                        each.entity.id,
                        "y" if each.image.id in truth and each.entity.id in truth[each.image.id].entities else "n",
                        who=f"reader {draw}",
                    )
                    for each in to_judge(index.connection, who=f"reader {draw}", limit=step)
                ]
            )
            found = precision(index.connection)
            errors.append(abs((found.precision or 0.0) - true))
            widths.append(found.upper - found.lower)
            held.append(found.lower <= true <= found.upper)
        last = max((place for place, error in enumerate(errors) if error > WITHIN), default=-1)
        near.append((last + 2) * step)
        narrow.append(next(((place + 1) * step for place, width in enumerate(widths) if width <= 2 * WITHIN), most))
    index.connection.execute("DELETE FROM verdicts")
    return {
        "labels": len(labels),
        "true": round(true, 4),
        "expected": round(expected, 4),
        "draws": draws,
        "near": int(np.median(near)),
        "near, worst": max(near),
        "narrow": int(np.median(narrow)),
        "narrow, worst": max(narrow),
        "intervals that hold the truth": round(float(np.mean(held)), 3),
    }


def main() -> None:
    """Judge a copy of the index, print the figures; write `results/review.json`, and one figure into `page.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--kb", type=Path, required=True)
    parser.add_argument("--entities", type=int, default=20)
    parser.add_argument("--labels", type=int, default=60)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--most", type=int, default=600)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.index.parent) as folder:
        copy = shutil.copytree(arguments.index, Path(folder) / "index")
        index = Index.open(copy)
        truth = read_truth(index, arguments.truth, KnowledgeBase.open(arguments.kb))
        figures = speeds(index, truth, arguments.entities, arguments.labels)
        figures["verdicts"] = verdicts_needed(index, truth, arguments.draws, arguments.most)
    print(json.dumps(figures, indent=2))
    harness.write_result(
        "review",
        [{"of": name} | each for name, each in figures.items()],
        {
            "grid over one by one, labels a minute": round(
                figures["grid, by keys"]["labels a minute"] / figures["one by one"]["labels a minute"], 2
            ),
            "verdicts until within .02, median": figures["verdicts"]["near"],
        },
    )
    clicked = figures["grid, wrong ones clicked"]["labels a minute"]
    harness.write_result("page", [], {"review_labels_a_minute": clicked}, keeps=True)


if __name__ == "__main__":
    main()

"""An index of colours with texts and labels, served; tabs of a browser; a made-up search of any size."""

import io
import json
import os
import queue
import threading
import time
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from search_world import COLOURS, colour_encoder, coloured, write_colour_kb, write_table_of

from openmofi.knowledge import KnowledgeBase
from openmofi.search import Index, build

HOSTILE = '<img src=x onerror="document.title=1"><b>bold</b>'
EACH = 8
# Finds tests and pages that take it that all is quick: how many times slower Chromium's pages run, 10 e.g.
SLOWER = int(os.environ.get("OPENMOFI_SLOW_PAGE", 1))


def page_index(folder):
    """Eight images of each colour with texts and dates; labels from sure to doubtful, and candidates."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for colour in COLOURS:
        for number in range(EACH):
            (folder / "images" / f"{colour}-{number}.png").write_bytes(coloured(colour, number))
            rows.append(
                {
                    "file_name": f"{colour}-{number}.png",
                    "text": f"a {colour} square, number {number}",
                    "date": f"2024-05-{number + 1:02d}",
                    "album": "first" if number % 2 else "second",
                }
            )
    rows[0]["text"] = f"{HOSTILE} a red square, number 0"
    write_table_of(folder / "images", rows)
    kb = KnowledgeBase.open(write_colour_kb(folder / "kb"))
    build([str(folder / "images")], colour_encoder(), folder / "index", kb=kb, entities="all")
    index = Index.open(folder / "index", colour_encoder())
    names, draw = list(COLOURS), np.random.default_rng(1)
    for record in index.images(range(1, len(rows) + 1)):
        colour = record.path.rpartition("/")[2].partition("-")[0]
        other = names[(names.index(colour) + 1) % len(names)]
        index.connection.executemany(
            "INSERT INTO labels VALUES (?, ?, ?, ?, .5)",
            [(record.id, f"c:{colour}", float(draw.uniform(0.7, 1)), True), (record.id, f"c:{other}", 0.2, False)],
        )
    index.connection.execute("UPDATE entities SET description = ? WHERE id = 'c:red'", (f"the colour {HOSTILE}",))
    return index


def address_of(index, **settings):
    """Where a server over the index listens, in a thread of its own until the tests end."""
    from openmofi.plugins.server import ServeSettings, serve

    started = queue.Queue()
    settings = ServeSettings(**{"port": 0, "no_token": not settings.get("token"), **settings})
    threading.Thread(target=serve, args=(index, settings), kwargs={"on_start": started.put}, daemon=True).start()
    return started.get(timeout=30)


def wait_until(page, condition, arg=None, seconds=30):
    """Playwright's own `wait_for_function` looks again by `eval`, which the page's policy forbids: it would fail where
    the condition doesn't hold at once."""
    wait_for(page, lambda: page.evaluate(condition, arg), seconds, condition)


def wait_for(page, condition, seconds=30, told="what was waited for did not come"):
    """Until what a callable gives is true; routes are followed meanwhile."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, told
        page.wait_for_timeout(30)


def wait_for_images(page):
    """A page of labels is not taken before all of its images are seen."""
    wait_until(page, "() => [...document.querySelectorAll('.judge img')].every((each) => each.complete)")


@dataclass
class Tab:
    """A page, and what it complained of."""

    page: object
    address: str
    faults: list = field(default_factory=list)
    refusals: int = 0

    def open(self, where="", wait=None):
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}{where}")
        self.page.wait_for_selector(wait or "main h1, main h2")
        return self.page

    def note(self, message):
        if message.type not in ("error", "warning"):
            return
        if "GPU stall due to ReadPixels" in message.text:  # Chromium's own remark where it has no graphics card
            return
        if "Failed to load resource" in message.text:  # what the server refused, which the test looks at
            self.refusals += 1
        else:
            self.faults.append(message.text)


def opened(chromium, address, **settings):
    context = chromium.new_context(**{"viewport": {"width": 1200, "height": 800}, **settings})
    tab = Tab(context.new_page(), address)
    tab.page.set_default_timeout(30_000 * SLOWER)
    if SLOWER > 1:
        context.new_cdp_session(tab.page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    tab.page.on("console", tab.note)
    tab.page.on("pageerror", lambda error: tab.faults.append(str(error)))
    return tab


def png(colour=(220, 30, 30), size=(64, 48)):
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def image_row(number, text="", labels=()):
    """An ImageRecord as the server writes it."""
    return {
        "id": number,
        "source": "/s",
        "shard": "s",
        "key": f"k{number}",
        "path": "",
        "status": "ok",
        "content": "0",
        "width": 64,
        "height": 48,
        "text": text or f"image {number}",
        "url": "",
        "columns": {},
        "labels": list(labels),
    }


@dataclass
class FakeSearch:
    """Answers searches by a made-up ranking of `total` images, `right` of which are likely."""

    total: int = 100_000
    right: int = 120
    note: str = ""
    meant: tuple = ()
    calls: list = field(default_factory=list)

    def probability(self, place):
        return max(0.02, 0.99 - 0.5 * place / max(1, self.right)) if self.right else 0.03

    def __call__(self, route):
        asked = json.loads(route.request.post_data)
        self.calls.append(asked)
        offset, end = asked.get("offset", 0), int(self.right * 0.7)
        places = range(offset, min(self.total, offset + asked["limit"]))
        hits = [
            {
                "image": image_row(place + 1),
                "rank": place + 1,
                "cosine": 0.5,
                "keyword": None,
                "probability": self.probability(place),
                "expected": 0.9,
                "duplicates": [],
            }
            for place in places
        ]
        route.fulfill(
            json={
                "hits": hits,
                "total": self.total,
                "until": 0.9,
                "end": end,
                "expected_right": end * 0.9,
                "expected_in_all": self.right * 1.2,
                "note": self.note,
                "uncalibrated": "",
                "entity": self.meant[0]["id"] if self.meant and asked["named"] else "",
                "meant": self.meant,
                "seconds": 0.01,
            }
        )

    def on(self, page):
        page.route("**/api/search", self)
        page.route("**/api/images/*/thumbnail*", lambda route: route.fulfill(body=png(), content_type="image/png"))
        return self

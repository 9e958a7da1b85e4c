"""The tasks in LightlyStudio 1.2 (PyPI; Lightly)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from openmofi.search import Index
from tasks_parts.hand import Hand
from tasks_parts.peer import running
from tasks_parts.world import World

_SERVER = Path(__file__).with_name("lightly_server.py")


def served(python: Path, table: Path, index: Index, folder: Path) -> AbstractContextManager[str]:
    """A server over the rows of `world.table_of`, within the block; its address.

    Args:
        python: of an environment with LightlyStudio.
        table: that `table_of` wrote.
        index: that it is of; its vectors are what images are compared by.
        folder: gets the images and the server's database.
    """
    (folder / "images").mkdir(parents=True)
    rows = {}
    for row in pq.read_table(table, columns=["id", "image", "label", "type", "text", "file"]).to_pylist():
        name = f"{row['id']:08}.png"
        (folder / "images" / name).write_bytes(row["image"]["bytes"])
        rows[name] = {column: row[column] for column in ("label", "type", "text", "file")}
    (folder / "rows.json").write_text(json.dumps(rows))
    ids, vectors = index.vectors()
    np.save(folder / "vectors.npy", vectors[np.argsort(ids)].astype(np.float32))
    quiet = os.environ | {"LIGHTLY_STUDIO_ANALYTICS_ENABLED": "false"}
    return running(lambda port: [str(python), str(_SERVER), str(folder), str(port)], quiet)


_TILE, _CLASS, _NARROWED = "[data-testid=sample-grid-item]", "[data-testid=labels-menu-item]", "text=/Showing \\d+ of/"


def _only(hand: Hand, name: str) -> str:
    """Scroll to the annotation class, tick it."""
    hand.click(hand.page.locator(_CLASS, has=hand.page.get_by_text(name, exact=True)))
    return hand.sees(_NARROWED)


def named(hand: Hand, world: World) -> str:
    """The annotation class of its name."""
    return _only(hand, world.name)


def similar(hand: Hand, world: World) -> str:
    """Drag the image to the search field."""
    hand.drag_to(_TILE, "[data-testid=text-embedding-search-input]")
    return hand.sees(hand.page.locator(_TILE, has_text="1.00"))


def typed(hand: Hand, world: World) -> str:
    """The annotation class of the type."""
    return _only(hand, world.type)


def counted(hand: Hand, world: World) -> str:
    """Scroll to the class of the type: the number stands beside it."""
    place = hand.page.locator(_CLASS, has=hand.page.get_by_text(world.type, exact=True))
    hand.point(place)
    return hand.sees(place, "of")


def region(hand: Hand, world: World) -> str:
    """*Embed*, *Rectangle select*, drag; *Menu*, *Export*, *Download*: the names of the files."""
    hand.click("[data-testid=side-panel-tabs-embed]")
    hand.sees("[data-testid=plot-tool-pill]")
    hand.click("[aria-label='Rectangle select']")
    hand.drag("[data-testid=plot-panel]", [(0.3, 0.35), (0.6, 0.6)])
    hand.sees(_NARROWED)
    hand.click("[data-testid=menu-trigger]")
    hand.click(hand.page.get_by_role("option", name="Export"))
    hand.sees("[data-testid=submit-button-samples]")
    return hand.saves("[data-testid=submit-button-samples]")


def wrong(hand: Hand, world: World) -> str:
    """Its class, its image, *Edit annotations*, the bin at the label."""
    _only(hand, world.name)
    hand.click(_TILE, double=True)
    hand.sees("[data-testid=select-list-trigger], [data-testid=sample-details]")
    hand.click("[data-testid=header-editing-mode-button]")
    hand.sees(hand.page.get_by_test_id("select-list-trigger"), world.name)
    hand.click(hand.page.get_by_role("button", name="Delete classification"))
    hand.gone(hand.page.get_by_test_id("select-list-trigger").filter(has_text=world.name))
    return "deleted"


def labelled(hand: Hand, world: World) -> str:
    """The first and, with Shift, the third image; the name as a tag."""
    tiles = hand.page.locator(_TILE)
    hand.click(tiles.nth(0))
    hand.click(tiles.nth(2), shift=True)
    hand.sees("text=3 selected")
    hand.click("[placeholder='Assign tag to selection']")
    hand.type(world.name)
    hand.press("Enter")
    return hand.sees("[data-testid=tag-menu-item]", world.name)


def source(hand: Hand, world: World) -> str:
    """Open the image: its file stands beside it."""
    hand.click(_TILE, double=True)
    return hand.sees("[data-testid=sample-details]", "pages 100000000")


WAYS: dict[str, Callable[[Hand, World], str] | str] = {
    "all images of a named thing": named,
    "images like one": similar,
    "only one type": typed,
    "how many images are of a type": counted,
    "a region of the map as a file": region,
    "a wrong label": wrong,
    "a label for three images": labelled,
    "near-duplicates of an image": similar,
    "images whose text has some words": (
        "It compares what is typed with images by an encoder; captions are not searched, and texts as metadata are "
        "listed by whole values, of which it does not find this one."
    ),
    "an image and where it is from": source,
}
"""Task → how it is done, or why it is not. A label for several images is a tag there; near-duplicates are the first of
the images like one.
"""
READY = _TILE
"""What is seen before a task begins."""

"""The tasks in embedding-atlas 0.26 (PyPI; Apple)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tasks_parts.hand import Hand
from tasks_parts.peer import running
from tasks_parts.world import World

_MAP = (
    "Not measured: it begins at a point of the map, which 0.26 draws by WebGPU with 16-bit floats alone; Chromium "
    "without a graphics card has none."
)
_READS = "It shows data, and writes nothing of them."


def served(program: Path, table: Path) -> AbstractContextManager[str]:
    """A server over a table, within the block; its address."""
    columns = ["--text", "text", "--image", "image", "--x", "x", "--y", "y", "--neighbors", "neighbors"]
    # A column in place of PageRank, which takes packages that nothing here asks for.
    command = [str(program), str(table), *columns, "--pagerank", "id", "--no-auto-port"]
    return running(lambda port: [*command, "--port", str(port)])


def _narrowed(hand: Hand) -> str:
    """The number of points that are left, when it is not all."""
    points = hand.page.get_by_text("points", exact=False)
    hand.sees("text=/^\\s*\\d{1,2} \\/ /")
    return str(points.first.inner_text())


def named(hand: Hand, world: World) -> str:
    """Open a hundred values of the chart of labels, then its bar."""
    hand.click(hand.page.get_by_text("Up to 100 values").nth(1))
    hand.click(hand.page.get_by_title(world.name, exact=True))
    return _narrowed(hand)


def typed(hand: Hand, world: World) -> str:
    """The bar of the type."""
    hand.click(hand.page.get_by_title(world.type, exact=True))
    return _narrowed(hand)


def counted(hand: Hand, world: World) -> str:
    """Scroll to the bar of the type: the number stands beside it."""
    hand.point(hand.page.get_by_title(world.type, exact=True))
    return hand.sees(hand.page.get_by_title(world.type, exact=True))


def worded(hand: Hand, world: World) -> str:
    """*Search*, its field, the words."""
    hand.click("[aria-label=Search]")
    hand.click("input[type=search]")
    hand.type(world.words)
    hand.press("Enter")
    return hand.sees("text=/^\\s*\\d+ results?/i")


def source(hand: Hand, world: World) -> str:
    """Look at its row: the file is a column."""
    row = hand.page.get_by_text("Pause button.").first
    hand.point(row)
    return hand.sees(hand.page.get_by_text("pages 100000000").last)


WAYS: dict[str, Callable[[Hand, World], str] | str] = {
    "all images of a named thing": named,
    "images like one": _MAP,
    "only one type": typed,
    "how many images are of a type": counted,
    "a region of the map as a file": _MAP,
    "a wrong label": _READS,
    "a label for three images": _READS,
    "near-duplicates of an image": _MAP,
    "images whose text has some words": worded,
    "an image and where it is from": source,
}
"""Task → how it is done, or why it is not."""
READY = "text=Pause button."
"""What is seen before a task begins."""

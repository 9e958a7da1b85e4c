"""The tasks on the page of `openmofi serve`."""

from __future__ import annotations

from collections.abc import Callable

from tasks_parts.hand import Hand
from tasks_parts.world import World

_BOX, _TILE, _COUNT = ".search-field input", ".tile-open", ".results-head .count"


def _named(hand: Hand, world: World) -> None:
    hand.click(_BOX)
    hand.type(world.name)
    hand.press("Enter")
    hand.sees(".senses", world.name)


def named(hand: Hand, world: World) -> str:
    """Type its name."""
    _named(hand, world)
    return hand.sees(_COUNT)


def similar(hand: Hand, world: World) -> str:
    """Open the image, *Search like this*."""
    hand.click(_TILE)
    hand.click(hand.page.get_by_role("button", name="Search like this"))
    hand.sees(".chips .chip img")
    return hand.sees(_COUNT, "likely")


def typed(hand: Hand, world: World) -> str:
    """*Filters*, the type."""
    hand.click(hand.page.get_by_role("button", name="Filters"))
    hand.click(hand.page.locator(".facet-value", has_text=world.type))
    hand.sees(".facet-value[aria-pressed=true]", world.type)
    return hand.sees(_COUNT)


def counted(hand: Hand, world: World) -> str:
    """*Filters*: the number stands beside the type."""
    hand.click(hand.page.get_by_role("button", name="Filters"))
    return hand.sees(".facet-value", world.type)


def region(hand: Hand, world: World) -> str:
    """*Map*, Shift and drag, *Parquet*."""
    hand.click(hand.page.get_by_role("link", name="Map", exact=True))
    hand.sees("canvas[data-drawn]")
    hand.drag("canvas", [(0.3, 0.3), (0.6, 0.3), (0.6, 0.7), (0.3, 0.7)], shift=True)
    hand.sees("#chosen", "chosen")
    return hand.saves(".selection .export")


def wrong(hand: Hand, world: World) -> str:
    """Its name, its image, ✗ at the label."""
    _named(hand, world)
    hand.click(_TILE)
    hand.click(hand.page.get_by_role("button", name=f"{world.name} is wrong"))
    hand.sees(".thumb.less[aria-pressed=true]")
    return "wrong"


def labelled(hand: Hand, world: World) -> str:
    """The first and, with Shift, the third box; *Label as …*, the name, the first completion."""
    boxes = hand.page.locator(".pick-tile")
    hand.page.locator(".tile-slot").first.hover()
    hand.click(boxes.nth(0))
    hand.click(boxes.nth(2), shift=True)
    hand.click(hand.page.get_by_role("button", name="Label as"))
    hand.type(world.name)
    hand.sees(".selection [role=option]", world.name)
    hand.press("ArrowDown", "Enter")
    return hand.sees(".selection strong", world.name)


def duplicates(hand: Hand, world: World) -> str:
    """The badge of a result, which leads to what is folded into it."""
    hand.click("a.badge")
    hand.sees("main h1", "images")
    return hand.sees(".tile-text")


def worded(hand: Hand, world: World) -> str:
    """Type the words."""
    hand.click(_BOX)
    hand.type(world.words)
    hand.press("Enter")
    return hand.sees(".tile-text", world.words)


def source(hand: Hand, world: World) -> str:
    """Open the image: its file stands below its text."""
    hand.click(_TILE)
    return hand.sees("dialog .facts")


WAYS: dict[str, Callable[[Hand, World], str] | str] = {
    "all images of a named thing": named,
    "images like one": similar,
    "only one type": typed,
    "how many images are of a type": counted,
    "a region of the map as a file": region,
    "a wrong label": wrong,
    "a label for three images": labelled,
    "near-duplicates of an image": duplicates,
    "images whose text has some words": worded,
    "an image and where it is from": source,
}
"""Task → how it is done."""
READY = _TILE
"""What is seen before a task begins."""

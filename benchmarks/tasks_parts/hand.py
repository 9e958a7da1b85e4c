"""A hand that drives a page: it counts its gestures and what it waits for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

KEY, POINT, CLICK, THINK = 0.28, 1.1, 0.2, 1.35
"""Seconds of the keystroke-level model (Card, Moran and Newell 1983): a key; pointing at a target; press and release; a
mental operation."""
PATIENCE = 30_000


@dataclass
class Hand:
    """A hand on a page of Playwright.

    Attributes:
        page: of Playwright.
        clicks, keys, drags: its gestures so far; a drag is pointing, pressing, pointing and letting go.
        thoughts: mental operations, one before each step that is decided on.
        waited: seconds from a gesture until what it is done for is seen.
    """

    page: Any
    clicks: int = 0
    keys: int = 0
    drags: int = 0
    thoughts: int = 0
    waited: float = 0.0
    _last: float = 0.0

    def click(self, what: str | Any, *, thinks: bool = True, shift: bool = False, double: bool = False) -> None:
        """Click what a selector or a locator names, with `shift` a key being held; a double click counts once."""
        self.thoughts, self.clicks, self.keys = self.thoughts + thinks, self.clicks + 1, self.keys + shift
        target = self._of(what).first
        (target.dblclick if double else target.click)(timeout=PATIENCE, modifiers=["Shift"] if shift else [])
        self._last = time.perf_counter()

    def point(self, what: str | Any) -> None:
        """Move over it, which costs as much as a click less the press: counted as one."""
        self.thoughts, self.clicks = self.thoughts + 1, self.clicks + 1
        self._of(what).first.hover(timeout=PATIENCE)
        self._last = time.perf_counter()

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.keys += len(text)
        self.page.keyboard.type(text)
        self._last = time.perf_counter()

    def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        for key in keys:
            self.keys += 1
            self.page.keyboard.press(key)
        self._last = time.perf_counter()

    def drag(self, what: str | Any, path: Sequence[tuple[float, float]], *, shift: bool = False) -> None:
        """Drag along points, which are fractions of an element's box."""
        self.thoughts, self.drags, self.keys = self.thoughts + 1, self.drags + 1, self.keys + shift
        box = self._of(what).first.bounding_box()
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in path]
        if shift:
            self.page.keyboard.down("Shift")
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point, steps=6)
        self.page.mouse.up()
        if shift:
            self.page.keyboard.up("Shift")
        self._last = time.perf_counter()

    def drag_to(self, what: str | Any, target: str | Any) -> None:
        """Drag the middle of one element onto another's."""
        self.thoughts, self.drags = self.thoughts + 1, self.drags + 1
        for element, steps in ((what, 1), (target, 12)):
            box = self._of(element).first.bounding_box()
            self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=steps)
            (self.page.mouse.down if element == what else self.page.mouse.up)()
        self._last = time.perf_counter()

    def gone(self, what: str | Any) -> None:
        """Wait until it is no longer seen."""
        self._of(what).first.wait_for(state="hidden", timeout=PATIENCE)
        self.waited += time.perf_counter() - self._last
        self._last = time.perf_counter()

    def sees(self, what: str | Any, text: str = "") -> str:
        """Wait until it is seen, with some text where one is given; return all of its text."""
        found = self._of(what)
        found = (found.filter(has_text=text) if text else found).first
        found.wait_for(state="visible", timeout=PATIENCE)
        self.waited += time.perf_counter() - self._last
        self._last = time.perf_counter()
        return str(found.inner_text())

    def saves(self, what: str | Any) -> str:
        """Click what saves a file; its name."""
        with self.page.expect_download(timeout=PATIENCE) as download:
            self.click(what)
        name = str(download.value.suggested_filename)
        self.waited += time.perf_counter() - self._last
        return name

    def _of(self, what: str | Any) -> Any:
        return self.page.locator(what) if isinstance(what, str) else what

    @property
    def gestures(self) -> int:
        """Clicks, keys and drags."""
        return self.clicks + self.keys + self.drags

    @property
    def seconds(self) -> float:
        """By the model, and what was waited for."""
        hands = self.keys * KEY + self.clicks * (POINT + CLICK) + self.drags * (2 * POINT + CLICK)
        return hands + self.thoughts * THINK + self.waited

"""What reaches a terminal: text of data can neither control it nor turn what stands beside it around."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

_Item = TypeVar("_Item")
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters other than tabs and ends of lines; separators that end lines; embeddings, overrides and isolates
of the bidirectional algorithm (https://trojansource.codes). Marks (U+200E, U+200F) stay: names in Hebrew have them.
"""


def visible(text: str) -> str:
    """Text of data as a terminal may print it: one � for each unsafe character."""
    return _UNSAFE.sub("\ufffd", text)


def json_text(value: Any) -> str:
    """JSON whose strings are readable, with unsafe characters escaped: it means the same."""
    return _UNSAFE.sub(lambda unsafe: f"\\u{ord(unsafe[0]):04x}", json.dumps(value, indent=2, ensure_ascii=False))


class VisibleOutput(io.TextIOWrapper):
    """Standard output on which everything is `visible`.

    Attributes:
        unfiltered: the stream below, for the sequences of a console.
    """

    def __init__(self, unfiltered: io.TextIOWrapper) -> None:
        # Names of files may hold bytes that are not UTF-8.
        super().__init__(
            unfiltered.buffer, unfiltered.encoding, "backslashreplace", line_buffering=unfiltered.line_buffering
        )
        self.unfiltered = unfiltered

    def write(self, text: str) -> int:
        """See `io.TextIOWrapper.write`."""
        super().write(visible(text))
        return len(text)


class VisibleLines(logging.Formatter):
    """Log lines that are `visible`."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        return visible(super().format(record))


def make_output_visible() -> None:
    """Let standard output of this process print only what is visible."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.flush()
        sys.stdout.reconfigure(errors="backslashreplace")
        sys.stdout = VisibleOutput(sys.stdout)


def plain_console(*, stderr: bool = False) -> Console:
    """A console that prints every text as it stands, as far as it is visible: `[sic]` and `:tent:` in names and paths
    mean nothing to it.
    """
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, VisibleOutput):
        stream.flush()
        return _plain()(file=stream.unfiltered, markup=False, emoji=False, highlight=False)
    return _plain()(stderr=stderr, markup=False, emoji=False, highlight=False)


@contextmanager
def bar(items: Iterable[_Item], title: str, shown: bool) -> Iterator[Iterable[_Item]]:
    """Give `items`; where `shown`, a bar on standard error moves as they are taken, and ends with the block."""
    if not shown:
        yield items
        return
    from rich.progress import Progress

    with Progress(console=plain_console(stderr=True)) as drawn:
        yield drawn.track(items, description=title)


@cache
def _plain() -> type[Console]:
    """Rich is loaded where something is drawn."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class PlainConsole(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(visible(segment.text), segment.style)

    return PlainConsole

"""Texts in images, which `--read-text` reads: one more text of a pair, of the kind `in_image`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from openmofi.errors import MissingExtraError
from openmofi.extensions import extension
from openmofi.schema import IN_IMAGE, Pair, PairStatus

TEXT = "text"
"""The kind of a pair's own text, where it has no other."""
LEAST_SCORE = 0.8
_NO_TEXT = (PairStatus.TEXT_MISSING, PairStatus.TEXT_EMPTY)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in an image.

    Attributes:
        text: what it says.
        score: of the recognition, 0..1.
    """

    text: str
    score: float


@dataclass(frozen=True)
class TextReaderKind:
    """What reads texts in images: the entry point `ocr` of `openmofi.text_readers`.

    Attributes:
        fingerprint: returns the name and version of the model; raises a `MissingExtraError` where it is not installed.
        open: returns a thread-safe function of an RGB image that gives its lines in reading order.
    """

    fingerprint: Callable[[], str]
    open: Callable[[], Callable[[Any], Sequence[Line]]]


@dataclass
class ImageReader:
    """Reads images, and goes on where that fails for one of them.

    Attributes:
        read: see `TextReaderKind.open`.
        error: the last error.
    """

    read: Callable[[Any], Sequence[Line]]
    error: Exception | None = field(default=None, init=False)

    @classmethod
    def open(cls) -> ImageReader:
        """Open the reader that is installed."""
        return cls(_kind().open())

    def __call__(self, image: Any) -> tuple[str, ...] | None:
        """Return the lines of an RGB image (PIL) that were recognised with a score of .8 or more, in reading order;
        `None` where reading failed.

        Raises:
            MemoryError: the machine is short of memory.
        """
        try:
            return tuple(line.text for line in self.read(image) if line.score >= LEAST_SCORE and _has_word(line.text))
        except MemoryError:
            raise
        except Exception as error:  # a library's, on pixels that nobody has thought of: the row goes on without
            self.error = error
            return None


def reader_fingerprint() -> str:
    """Return the name and version of the model that reads texts in images.

    Raises:
        MissingExtraError: none is installed.
    """
    return str(_kind().fingerprint())


def with_lines(pair: Pair, lines: Sequence[str], most: int) -> Pair:
    """Return a pair whose text ends with the lines of its image; what it says makes a pair without a text usable.

    Args:
        pair: any.
        lines: in reading order.
        most: characters that a text may have.
    """
    if pair.status in _NO_TEXT and lines:
        text = "\n".join(lines)[:most]
        return replace(pair, text=text, status=PairStatus.OK, kinds=((IN_IMAGE, len(text)),))
    kinds = pair.kinds or ((TEXT, len(pair.text)),)
    text = "\n".join([pair.text, *lines])[:most] if pair.status == PairStatus.OK else pair.text
    more = ((IN_IMAGE, len(text)),) if len(text) > len(pair.text) else ()
    return replace(pair, text=text, kinds=(*kinds, *more))


def own_text(text: str, kinds: Sequence[tuple[str, int]]) -> str:
    """Return the part of a text that does not stand in the image."""
    return text[: max((end for kind, end in kinds if kind != IN_IMAGE), default=0)] if kinds else text


def _has_word(text: str) -> bool:
    """Whether a line has two letters or digits: single ones are mostly drawn shapes."""
    return sum(map(str.isalnum, text)) > 1


def _kind() -> TextReaderKind:
    kind: TextReaderKind | None = extension("text_readers", "ocr")
    if kind is None:
        raise MissingExtraError.of("rapidocr", "ocr")
    return kind

"""Texts from untrusted bytes: always a string that Arrow accepts, and a status that says what was wrong."""

import codecs
import json
import math
import re
from dataclasses import dataclass
from typing import Any

from openmofi.schema import PairStatus


@dataclass(frozen=True, slots=True)
class Text:
    """A text and whether it can be used: `OK`, `TEXT_EMPTY`, `TEXT_INVALID`, `TEXT_TOO_LONG` or `TEXT_MISSING`."""

    text: str
    status: PairStatus


@dataclass(frozen=True, slots=True)
class TextParts:
    """The texts of a row's columns.

    Attributes:
        value: as of `from_value`; of several texts these, a line each.
        kinds: each text's kind, and where it ends in `value`; `None` is the end.
    """

    value: Any
    kinds: tuple[tuple[str, int | None], ...] = ()


_SURROGATE = re.compile("[\ud800-\udfff]")


def byte_limit(max_chars: int) -> int:
    """Return how many bytes to read to have `max_chars` code points of UTF-8 and to know whether there are more."""
    return 4 * (max_chars + 2)


def from_bytes(data: bytes, max_chars: int) -> Text:
    """Decode a text of which the first `byte_limit(max_chars)` bytes are enough; invalid bytes become U+FFFD."""
    limit = byte_limit(max_chars)
    whole = len(data) <= limit
    # What is cut in the middle of a character is too long, not invalid: the decoder keeps its first bytes
    # back.
    decoder = codecs.getincrementaldecoder("utf-8")
    try:
        return from_str(decoder("strict").decode(data[:limit], final=whole), max_chars)
    except UnicodeDecodeError:
        text = decoder("replace").decode(data[:limit], final=whole)
        return Text(text.removeprefix("\ufeff")[:max_chars], PairStatus.TEXT_INVALID)


def from_str(text: str, max_chars: int) -> Text:
    """Check a decoded text; surrogates (bytes or JSON escapes that are not characters) become U+FFFD."""
    text = text.removeprefix("\ufeff")
    clean = _SURROGATE.sub("\ufffd", text)
    if clean != text:
        return Text(clean[:max_chars], PairStatus.TEXT_INVALID)
    if len(text) > max_chars:
        return Text(text[:max_chars], PairStatus.TEXT_TOO_LONG)
    # A text of zeros alone is what a page leaves that was never written.
    return Text(text, PairStatus.OK if text.replace("\0", " ").strip() else PairStatus.TEXT_EMPTY)


def from_value(value: Any, max_chars: int) -> Text:
    """Read a cell of a table or a value of JSON: text, bytes, a number, or a list, of which the first counts.

    Anything else is no text (`TEXT_MISSING`): nothing, NaN, true, a mapping, a list within a list.
    """
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    if isinstance(value, bytes):
        return from_bytes(value, max_chars)
    if not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))):
        value = str(value)
    return from_str(value, max_chars) if isinstance(value, str) else Text("", PairStatus.TEXT_MISSING)


def identifier(value: Any) -> Any:
    """Return the value of a key or of a path; `None` for what names nothing: NaN, lists, mappings."""
    return None if isinstance(value, list | tuple | dict) or value != value else value


def printable(value: Any) -> str:
    """Return a key or URL as a string that Arrow takes; bytes that are not UTF-8 are escaped: keys stay different."""
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape_or_pass")
    return raw.decode("utf-8", "backslashreplace")


def _surrogateescape_or_pass(error: UnicodeError) -> tuple[bytes, int]:
    # Names of files carry their raw bytes as U+DC80..U+DCFF; other surrogates come from JSON escapes.
    assert isinstance(error, UnicodeEncodeError)
    out = b""
    for letter in error.object[error.start : error.end]:
        code = ord(letter)
        out += bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else letter.encode("utf-8", "surrogatepass")
    return out, error.end


codecs.register_error("surrogateescape_or_pass", _surrogateescape_or_pass)


def json_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object; `{}` for anything else (damaged, not an object, nested beyond reason)."""
    try:
        value = json.loads(data.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}

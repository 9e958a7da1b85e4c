"""The columns of a table that hold keys, images and texts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Any

from openmofi.errors import UsageError
from openmofi.pairs.read_settings import ColumnNames, ReadSettings
from openmofi.pairs.text import TextParts, from_value

TEXT = (
    "caption",
    "text",
    "alt",
    "alt_text",
    "sentence",
    "description",
    "title",
    "captions",
    "label_text",
    "txt",
    "image_caption",
    "caption_text",
    "raw_caption",
    "text_caption",
    "sentences",
    "prompt",
)
IMAGE = (
    "image",
    "image_bytes",
    "img",
    "jpg",
    "jpeg",
    "png",
    "webp",
    "bytes",
    "file_name",
    "filename",
    "image_path",
    "path",
    "file",
    "filepath",
    "file_path",
    "image_file",
    "image_filename",
    "image_name",
    "img_path",
    "img_bytes",
    "img_file",
    "local_path",
    "picture",
    "photo",
)
KEY = ("key", "__key__", "id", "image_id", "sample_id", "uid")
URL = ("url", "image_url", "img_url")
COLLECTION = ("source", "collection")
"""Say where a pair comes from where there is no address."""

_NO_LETTER = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class PairColumns:
    """Names of a table's columns; `None` where it has none of a kind.

    A pair's text is that of `text` and, where several were named, of `more_texts`, a line each. `kinds` says whether it
    is kept which column a text comes from.
    """

    text: str
    image: str
    key: str | None
    url: str | None
    more_texts: tuple[str, ...] = ()
    kinds: bool = False

    def text_in(self, row: Mapping[str, Any], max_chars: int) -> TextParts:
        """Return a row's text: of several columns those that hold one, a line each where they differ."""
        if not self.more_texts:
            return TextParts(row.get(self.text), ((self.text, None),) if self.kinds else ())
        names = (self.text, *self.more_texts)
        text, kinds = joined_texts({name: from_value(row.get(name), max_chars).text for name in names})
        return TextParts(text, kinds) if kinds else TextParts(row.get(self.text))

    def all(self) -> list[str]:
        """Return the columns that must be read, each once."""
        return list(
            dict.fromkeys(name for name in (self.text, *self.more_texts, self.image, self.key, self.url) if name)
        )


def joined_texts(texts: Mapping[str, str]) -> tuple[str, tuple[tuple[str, int], ...]]:
    """Several texts of an image, by their kinds: those that say something, a line each where they differ, and `kinds`
    as of `openmofi.schema.Pair`.
    """
    names: dict[str, list[str]] = {}
    for name, text in texts.items():
        if text.strip():
            names.setdefault(text, []).append(name)
    ends = accumulate((len(text) + 1 for text in names), initial=-1)
    return "\n".join(names), tuple(zip(map("+".join, names.values()), [*ends][1:], strict=True))


def find_columns(path: str, names: Sequence[str], settings: ReadSettings) -> PairColumns:
    """Take the columns that the settings name, or else the first of the common names.

    The case of a common name does not matter, nor do its `_`, `-` and blanks where nothing else was recognised.

    Raises:
        UsageError: a named column does not exist, or occurs twice, or no text or image column was recognised.
    """
    text = find_column(path, names, settings.text_column, TEXT, "text", forgiving=True)
    image = find_column(path, names, settings.image_column, IMAGE, "image", forgiving=True)
    for what, column in (("text", text), ("image", image)):
        if column is None:
            raise UsageError(
                f"{path} has no {what} column of a known name; it has: {_list(names)}.", name_it(what, path)
            )
    assert text is not None
    assert image is not None
    key = find_column(path, names, settings.key_column, KEY, "key")
    url = find_column(path, names, settings.url_column, URL, "url") or next(
        (name for name in COLLECTION if list(names).count(name) == 1), None
    )
    columns = PairColumns(text, image, key, url, _more(path, names, settings.text_column, text), settings.has_kinds)
    if twice := next((name for name in columns.all() if list(names).count(name) > 1), None):
        raise UsageError(f"{path} has more than one column {twice!r}.", "Rename one of them.")
    return columns


def name_it(what: str, path: str) -> str:
    """Return the hint that says how to name the column of a kind."""
    option = f"--{what}-column"
    return f"Name it with {option} NAME, or for this input alone with {option} '{PurePosixPath(path).name}=NAME'."


def check_patterns(settings: ReadSettings, paths: Sequence[str]) -> None:
    """Check that each `PATTERN=COLUMN` of the settings is about one of the inputs.

    Raises:
        UsageError: one matches none of `paths`.
    """
    for what in ("text", "image", "key", "url"):
        for entry in _entries(getattr(settings, f"{what}_column")):
            pattern, equals, _ = entry.rpartition("=")
            # A folder's table has a name that is not among the paths.
            if equals and not any(_matches(path, pattern) or not PurePosixPath(path).suffix for path in paths):
                raise UsageError(
                    f"--{what}-column {entry!r}: none of the inputs matches {pattern!r}.",
                    "Write it as 'PATTERN=COLUMN', where PATTERN is the name of a file or folder.",
                )


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (" …" if len(names) > 20 else "")


def _entries(setting: ColumnNames) -> list[str]:
    return [setting] if isinstance(setting, str) else list(setting)


def _matches(path: str, pattern: str) -> bool:
    """Whether a pattern matches a path: the whole of it, or the name of the file or of a folder above."""
    return fnmatchcase(path, pattern) or any(fnmatchcase(part, pattern) for part in PurePosixPath(path).parts)


def _named(path: str, names: Sequence[str], setting: ColumnNames) -> str:
    """Return the column that the settings name for this table, or `""`; what names this table alone wins."""
    general = ""
    for entry in reversed(_entries(setting)):
        pattern, equals, column = entry.rpartition("=")
        # A column's own name may contain the sign.
        if not equals or entry in names:
            general = entry  # of several the first; the others are further texts
        elif _matches(path, pattern):
            return column
    return general


def _more(path: str, names: Sequence[str], setting: ColumnNames, text: str) -> tuple[str, ...]:
    """Return further columns of texts: those named for this table alone, else all that are named for any."""
    entries = _entries(setting)
    plain = [entry for entry in entries if entry in names or "=" not in entry]
    if text not in plain or any(entry not in plain and _matches(path, entry.rpartition("=")[0]) for entry in entries):
        return ()
    for name in plain:
        find_column(path, names, name, (), "text")
    return tuple(dict.fromkeys(name for name in plain if name != text))


def find_column(
    path: str, names: Sequence[str], setting: ColumnNames, common: Sequence[str], what: str, *, forgiving: bool = False
) -> str | None:
    """Return the column that a setting names, or else the first of the `common` names, as of `find_columns`.

    Raises:
        UsageError: the named column does not exist.
    """
    if named := _named(path, names, setting):
        if named not in names:
            raise UsageError(f"{path} has no column {named!r} (--{what}-column); it has: {_list(names)}.")
        return named
    lower = {name.lower(): name for name in reversed(names)}
    plain = {_NO_LETTER.sub("", name): column for name, column in lower.items()} if forgiving else {}
    return next((lower[name] for name in common if name in lower), None) or next(
        (plain[name] for name in (_NO_LETTER.sub("", name) for name in common) if name in plain), None
    )

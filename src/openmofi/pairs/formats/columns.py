"""Which column of a table is what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openmofi.errors import UsageError
from openmofi.pairs.read_settings import ReadSettings

TEXT = ("caption", "text", "alt", "alt_text", "sentence", "description", "title", "captions", "label_text")
IMAGE = ("image", "image_bytes", "img", "jpg", "jpeg", "png", "webp", "bytes", "file_name", "filename", "image_path",
         "path", "file")
KEY = ("key", "__key__", "id", "image_id", "sample_id", "uid")
URL = ("url", "image_url", "img_url")


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of a table's columns; `None` where it has none of a kind."""

    text: str
    image: str
    key: str | None
    url: str | None

    def all(self) -> list[str]:
        """Those that must be read, each once."""
        return list(dict.fromkeys(name for name in (self.text, self.image, self.key, self.url) if name))


def find_columns(path: str, names: Sequence[str], settings: ReadSettings) -> Columns:
    """Take the columns that the settings name, or else the first of the common names, whatever its case.

    Raises:
        UsageError: a named column does not exist, or no text or image column was recognised.
    """
    text = _find(path, names, settings.text_column, TEXT, "text_column")
    image = _find(path, names, settings.image_column, IMAGE, "image_column")
    for what, column in (("text", text), ("image", image)):
        if column is None:
            raise UsageError(f"{path} has no {what} column of a known name; it has: {_list(names)}.",
                             f"Name it with {what}_column.")
    assert text is not None
    assert image is not None
    key = _find(path, names, settings.key_column, KEY, "key_column")
    return Columns(text, image, key, _find(path, names, settings.url_column, URL, "url_column"))


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (" …" if len(names) > 20 else "")


def _find(path: str, names: Sequence[str], named: str, common: Sequence[str], setting: str) -> str | None:
    if named:
        if named not in names:
            raise UsageError(f"{path} has no column {named!r} ({setting}); it has: {_list(names)}.")
        return named
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in common if name in lower), None)

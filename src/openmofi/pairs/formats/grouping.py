"""From members with names to pairs: WebDataset's rule, and what becomes of everything that breaks it.

The rule: a member's key is its path up to the first dot of the file name, and the rest is its extension, in
lower case. Neighbours of one key are one pair. Beyond the rule:

* Of several images of one key the first counts (HEIC, SVG and the like only where there is no other); other
  extensions (`mask.png`, `cls`) are passed over.
* A key of which no member has a plain extension (`IMG.2024.01.jpg`) is a name with dots of its own: there the
  key goes up to the last dot.
* An extension that comes twice, or a key that comes again later, makes a row of its own with the same key and
  the status `DUPLICATE_KEY`: counts in = counts out, and the first stays the one that counts.
* Names are data, never paths: `../../x.jpg` and `/x.jpg` are keys like others, since nothing is ever written
  or opened under a member's name. Links and devices have no content: their pair is `IMAGE_MISSING` or
  `TEXT_MISSING`.
* Hidden files (`.DS_Store`, `._x.jpg`) and names without an extension are not members of a pair.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from openmofi.pairs.formats.columns import COLLECTION
from openmofi.pairs.read_settings import ReadSettings
from openmofi.pairs.text import Parts, byte_limit, from_value, identifier, json_object, printable
from openmofi.schema import Pair, PairStatus

IMAGE_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"})
OTHER_IMAGE_EXTENSIONS = frozenset(
    {"heic", "heif", "hif", "svg", "jp2", "j2k", "jpx", "jxl", "jxr", "psd", "eps", "ico"})
"""Images that are read with an extra, or not at all: they count where a key has no other image."""

_log = logging.getLogger(__name__)
_MAX_JSON = 4 << 20
_MAX_GROUP = 256
"""Members of one key that are held at once: a tar in which all names begin alike must not fill the memory."""


def split_name(name: str) -> tuple[str, str] | None:
    """`a/b.c.JPG` → `("a/b", "c.jpg")`; `None` for hidden files and names without an extension."""
    folder, slash, base = name.rpartition("/")
    visible = base.lstrip(".")
    stem, dot, extension = visible.partition(".")
    # One leading dot hides a file; two are an attempt at `..\\`, and no reason to lose a pair.
    leading = base[: len(base) - len(visible)]
    return (folder + slash + leading + stem, extension.lower()) if stem and dot and leading != "." else None


def _kind(extension: str) -> str:
    last = extension.rpartition(".")[2]
    if last in IMAGE_EXTENSIONS:
        return "image"
    if last in OTHER_IMAGE_EXTENSIONS:
        return "other image"
    return last if last in ("txt", "json") else ""


@dataclass(frozen=True, slots=True)
class Content:
    """A member's bytes, as far as they were read.

    Attributes:
        data: `None` where it has none (a link, a member beyond `max_image_bytes`).
        status: `OK`, or why `data` cannot be used: `IMAGE_TOO_LARGE`, or `IMAGE_BROKEN` where the shard is cut.
    """

    data: bytes | None
    status: PairStatus = PairStatus.OK


def read_limit(extension: str, size: int, settings: ReadSettings) -> int | None:
    """How many bytes of a member to read: 0 where it plays no part, `None` where it is too large to be read."""
    kind = _kind(extension)
    if kind.endswith("image"):
        return size if size <= settings.max_image_bytes else None
    if kind == "txt":
        return min(size, byte_limit(settings.max_text_chars) + 1)
    return size if kind == "json" and size <= _MAX_JSON else 0


@dataclass
class RowPairs:
    """Makes pairs of keys, images and texts that come one by one; keeps the keys seen, and counts the statuses."""

    settings: ReadSettings
    keys: set[str] = field(default_factory=set)
    statuses: Counter[PairStatus] = field(default_factory=Counter)

    def pair(self, key: str, image: Content | None, text: object, url: object) -> Pair:
        """A row's pair with its status; `image` is `None` where the row has none, `text` is `Parts` or a value."""
        parts = text if isinstance(text, Parts) else Parts(text)
        judged = from_value(parts.value, self.settings.max_text_chars)
        if key in self.keys:
            status = PairStatus.DUPLICATE_KEY
        elif image is None or (image.data is None and image.status is PairStatus.OK):
            status = PairStatus.IMAGE_MISSING
        else:
            status = image.status if image.status is not PairStatus.OK else judged.status
        self.keys.add(key)
        self.statuses[status] += 1
        return Pair(key, image.data if image else None, judged.text, status,
                    printable(url) if url and identifier(url) is not None else "",
                    tuple((kind, len(judged.text) if end is None else end) for kind, end in parts.kinds))

    def report_useless(self, path: str, unread: str) -> None:
        """Say in the log why no row of a table can be used, where all have the same fault.

        `unread` says why an image was not read, or is empty.
        """
        status, count = next(iter(self.statuses.items()), (PairStatus.OK, 0))
        if status is PairStatus.OK or len(self.statuses) > 1:
            return
        why = {PairStatus.IMAGE_MISSING: unread or "Name another column with --image-column.",
               PairStatus.TEXT_MISSING: "Name another column with --text-column."}.get(status, "")
        _log.warning("All %d rows of %s are %s. %s", count, path, status, why)


@dataclass
class Grouper(RowPairs):
    """Turns a sequence of members into pairs; holds at most one key's members."""

    _key: str = ""
    _members: dict[str, Content] = field(default_factory=dict)

    def add(self, key: str, extension: str, content: Content) -> Iterator[Pair]:
        """Take the next member; yields the pairs that are now complete."""
        if not _kind(extension):
            return
        if key != self._key or extension in self._members or len(self._members) >= _MAX_GROUP:
            yield from self.close()
        self._key = key
        self._members[extension] = content

    def close(self) -> Iterator[Pair]:
        """Yield what is held."""
        members, self._members = self._members, {}
        plain = {extension: content for extension, content in members.items() if "." not in extension}
        if plain:
            yield self._grouped(self._key, plain)
            return
        by_stem: dict[str, dict[str, Content]] = {}
        for extension, content in members.items():
            stem, _, last = extension.rpartition(".")
            by_stem.setdefault(f"{self._key}.{stem}", {})[last] = content
        for key, group in by_stem.items():
            yield self._grouped(key, group)

    def _grouped(self, key: str, members: dict[str, Content]) -> Pair:
        image = next((content for kind in ("image", "other image") for extension, content in members.items()
                      if _kind(extension) == kind), None)
        about = json_object(members["json"].data or b"") if "json" in members else {}
        txt = members.get("txt")
        text = txt.data if txt and txt.data is not None else about.get("caption")
        named = (about.get(name) for name in ("url", *COLLECTION))
        return self.pair(printable(key), image, text, next((value for value in named if value), None))

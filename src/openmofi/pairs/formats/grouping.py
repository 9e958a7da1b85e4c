"""Groups named members into pairs by WebDataset's rule, and says what becomes of all that breaks it.

WebDataset's rule: a member's key is its path up to the first dot of the file name, and the rest is its extension, in
lower case. Neighbours of one key are one sample, and a sample is one pair. `s.image.jpg` and `s.caption.txt` are the
image and the text of `s`. Beyond the rule:

* Names may have dots of their own. The stem of `sun.2.jpg` is `sun.2`. Where one stem of a key has both an image and a
  text, each such stem is a pair named by it: `sun.jpg`, `sun.txt`, `sun.2.jpg`, `sun.2.txt` are two. A member below
  such a stem (`sun.2.mask.png`) belongs to its pair; the other members of the key are paired by their own stems. JSON
  counts as a text where the key has no `.txt`.
* A key that has only images or only texts, none of them with a plain extension, is a row a stem.
* Of several images of a pair the first counts: those of its own stem before those below it, HEIC, SVG and the like only
  where there is no other. Texts likewise. What is passed over is counted, and said at the end.
* An extension that comes twice, or a key that comes again later, makes a row of its own with the same key and
  the status `DUPLICATE_KEY`: counts in = counts out, and the first stays the one that counts.
* Names are data, never paths: `../../x.jpg` and `/x.jpg` are keys like others, since nothing is ever written
  or opened under a member's name. Links and devices have no content: their pair is `IMAGE_MISSING` or
  `TEXT_MISSING`.
* Hidden files (`.DS_Store`, `._x.jpg`) and names without an extension are not members of a pair.

A key's members are held until the key ends, up to 128 MiB. Of a larger key they are paired in parts, which are cut only
between stems, so that neighbours of one stem stay together.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from openmofi.pairs.formats.columns import COLLECTION
from openmofi.pairs.read_settings import ReadSettings
from openmofi.pairs.text import TextParts, byte_limit, from_value, identifier, json_object, printable
from openmofi.schema import Pair, PairStatus
from openmofi.storage.encodings import decoded

IMAGE_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"})
OTHER_IMAGE_EXTENSIONS = frozenset(
    {"heic", "heif", "hif", "svg", "jp2", "j2k", "jpx", "jxl", "jxr", "psd", "eps", "ico"}
)
"""Images that are read with an extra, or not at all: they count where a key has no other image."""

_log = logging.getLogger(__name__)
_MAX_JSON = 4 << 20
_MAX_HELD = 128 << 20
"""Bytes of one key's members that are held before it is paired in parts: twice the largest image."""


def split_name(name: str) -> tuple[str, str] | None:
    """`a/b.c.JPG` → `("a/b", "c.jpg")`; `None` for hidden files and names without an extension."""
    folder, slash, base = name.rpartition("/")
    visible = base.lstrip(".")
    stem, dot, extension = visible.partition(".")
    # One leading dot hides a file; two are an attempt at `..\\`, and no reason to lose a pair.
    leading = base[: len(base) - len(visible)]
    return (folder + slash + leading + stem, extension.lower()) if stem and dot and leading != "." else None


def kind_of(extension: str) -> str:
    """Return what a member is: `image`, `other image`, `txt`, `json`; `""` where it plays no part."""
    last = extension.rpartition(".")[2]
    if last in IMAGE_EXTENSIONS:
        return "image"
    if last in OTHER_IMAGE_EXTENSIONS:
        return "other image"
    return last if last in ("txt", "json") else ""


@dataclass(frozen=True, slots=True)
class MemberContent:
    """A member's bytes, as far as they were read.

    Attributes:
        data: `None` where it has none (a link, a member beyond `max_image_bytes`).
        status: `OK`, or why `data` cannot be used: `IMAGE_TOO_LARGE`, or `IMAGE_BROKEN` where the shard is cut.
        texts: of an image, those that it brings itself.
        offset: see `Pair`.
    """

    data: bytes | None
    status: PairStatus = PairStatus.OK
    texts: TextParts | None = None
    offset: int = -1


def read_limit(extension: str, size: int, settings: ReadSettings) -> int | None:
    """Return how many bytes of a member to read: 0 where it plays no part, `None` where it is too large."""
    kind = kind_of(extension)
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

    def pair(self, key: str, image: MemberContent | None, text: object, url: object) -> Pair:
        """Make a row's pair; `image` is `None` where the row has none, `text` is `TextParts` or a value."""
        parts = text if isinstance(text, TextParts) else TextParts(text)
        judged = from_value(parts.value, self.settings.max_text_chars)
        if key in self.keys:
            status = PairStatus.DUPLICATE_KEY
        elif image is None or (image.data is None and image.status is PairStatus.OK):
            status = PairStatus.IMAGE_MISSING
        else:
            status = image.status if image.status is not PairStatus.OK else judged.status
        self.keys.add(key)
        self.statuses[status] += 1
        return Pair(
            key,
            image.data if image else None,
            judged.text,
            status,
            printable(url) if url and identifier(url) is not None else "",
            tuple((kind, len(judged.text) if end is None else end) for kind, end in parts.kinds),
            image.offset if image else -1,
        )

    def report_useless(self, path: str, unread: str) -> None:
        """Say in the log why no row of a table can be used, where all have the same fault.

        `unread` says why an image was not read, or is empty.
        """
        status, count = next(iter(self.statuses.items()), (PairStatus.OK, 0))
        if status is PairStatus.OK or len(self.statuses) > 1:
            return
        why = {
            PairStatus.IMAGE_MISSING: unread or "Name another column with --image-column.",
            PairStatus.TEXT_MISSING: "Name another column with --text-column.",
        }.get(status, "")
        _log.warning("All %d rows of %s are %s. %s", count, path, status, why)


@dataclass
class Grouper(RowPairs):
    """Turns a sequence of members into pairs; holds at most one key's members, and counts those in no pair."""

    passed_over: Counter[str] = field(default_factory=Counter)
    _examples: dict[str, str] = field(default_factory=dict)
    _key: str = ""
    _members: dict[str, MemberContent] = field(default_factory=dict)
    _held: int = 0
    _root: str = ""
    _is_part: bool = False

    def add(self, key: str, extension: str, content: MemberContent, size: int) -> Iterator[Pair]:
        """Take the next member, of `size` bytes in the shard; yields the pairs that are now complete."""
        if key != self._key or extension in self._members:
            yield from self.close()
            self._key, self._root = key, _stem(extension)
        if not kind_of(extension):
            self.pass_over(f"{key}.{extension}")
            return
        yield from self._begin_stem(_stem(extension))
        self._members[extension] = content
        self._held += size if kind_of(extension).endswith("image") else min(size, _MAX_JSON)

    def _begin_stem(self, stem: str) -> Iterator[Pair]:
        """Yield what is held if it is too much and the member that comes belongs to none of it."""
        if _is_below(self._root, stem) or _is_below(stem, self._root):
            self._root = min(self._root, stem, key=len)
            return
        self._root = stem
        if self._held > _MAX_HELD:
            self._is_part = True
            yield from self._take()

    def close(self) -> Iterator[Pair]:
        """Yield what is held."""
        yield from self._take()
        self._is_part = False

    def pass_over(self, name: str, kind: str = "") -> None:
        """Count a member that is in no pair."""
        what = "images" if kind.endswith("image") else "texts" if kind == "txt" else "other files"
        self.passed_over[what] += 1
        self._examples.setdefault(what, name)

    def report_passed_over(self, path: str) -> None:
        """Say in the log how many members are in no pair; images and texts among them are worth a warning."""
        whats = [what for what in ("images", "texts", "other files") if self.passed_over[what]]
        if whats:
            counts = ", ".join(f"{self.passed_over[what]:,} {what}" for what in whats)
            _log.log(
                logging.INFO if whats == ["other files"] else logging.WARNING,
                "No pair of %s holds %s, such as %s.",
                path,
                counts,
                printable(self._examples[whats[0]]),
            )
        if invalid := self.statuses[PairStatus.TEXT_INVALID]:
            _log.warning(
                "%d texts of %s are not UTF-8. If all are in one encoding, name it with --encoding.", invalid, path
            )

    def _take(self) -> Iterator[Pair]:
        members, self._members, self._held = self._members, {}, 0
        if not members:
            return
        for stem, sample in self._samples(members).items():
            yield self._pair(f"{self._key}.{stem}" if stem else self._key, stem, sample)

    def _samples(self, members: dict[str, MemberContent]) -> dict[str, dict[str, MemberContent]]:
        """Return the members of each pair, by the stem that names it."""
        kinds: dict[str, set[str]] = {}
        for extension in members:
            kinds.setdefault(_stem(extension), set()).add(kind_of(extension).removeprefix("other "))
        every = set().union(*kinds.values())
        text = "txt" if "txt" in every else "json"
        whole = {stem for stem, inside in kinds.items() if {"image", text} <= inside}
        if not whole and not self._is_part and ("" in kinds or {"image", text} <= every):
            return {"": members}
        samples: dict[str, dict[str, MemberContent]] = {}
        for extension, content in members.items():
            samples.setdefault(_whole_above(_stem(extension), whole), {})[extension] = content
        return samples

    def _pair(self, key: str, stem: str, members: dict[str, MemberContent]) -> Pair:
        chosen: dict[str, str] = {}
        for extension in sorted(members, key=lambda extension: _stem(extension) != stem):
            chosen.setdefault(kind_of(extension), extension)
        if "image" in chosen:
            chosen.pop("other image", None)
        for extension in members:
            if extension not in chosen.values():
                self.pass_over(f"{self._key}.{extension}", kind_of(extension))
        image, about, txt = (members.get(chosen.get(kind, "")) for kind in ("image", "json", "txt"))
        image = image or members.get(chosen.get("other image", ""))
        fields = json_object(about.data or b"") if about else {}
        text = decoded(txt.data, self.settings.encoding) if txt and txt.data is not None else fields.get("caption")
        if text is None and image:
            text = image.texts
        named = (fields.get(name) for name in ("url", *COLLECTION))
        return self.pair(printable(key), image, text, next((value for value in named if value), None))


def _stem(extension: str) -> str:
    return extension.rpartition(".")[0]


def _is_below(stem: str, other: str) -> bool:
    """Whether a stem equals another or begins with it; below the plain one is itself alone."""
    return stem == other or (other != "" and stem.startswith(f"{other}."))


def _whole_above(stem: str, whole: set[str]) -> str:
    """Return the longest of the stems `whole` that `stem` begins with, or itself where there is none."""
    above = stem
    while above not in whole:
        if not above:
            return stem
        above = _stem(above)
    return above

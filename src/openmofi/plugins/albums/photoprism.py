"""PhotoPrism's API, as its Swagger specification v1 has it (https://github.com/photoprism/photoprism, internal/api/).

Names are those of its JSON, which writes `Labels` where the specification writes `labels`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Annotated, ClassVar

from msgspec import Meta, Struct
from msgspec import field as named
from msgspec.structs import replace

from openmofi.plugins.albums.server import PAGE, Id, Lost, Op, PhotoServer

_OF_PEOPLE = frozenset({"meta", "xmp", "manual", "admin"})
"""Sources of titles and descriptions that are no machine's."""
_REMOVED = 100
"""The uncertainty of a label that a person removed."""


class _Listed(Struct):
    uid: Id = named(name="UID")
    type: str = named(name="Type", default="image")


class _Marker(Struct, rename="pascal"):
    name: str = ""
    invalid: bool = False


class _File(Struct, rename="pascal"):
    name: str = ""
    primary: bool = False
    hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{0,64}\Z")] = ""
    markers: list[_Marker] | None = None


class _Album(Struct, rename="pascal"):
    title: str = ""
    type: str = "album"


class _Details(Struct, rename="pascal"):
    keywords: str = ""


class _Name(Struct, rename="pascal"):
    name: str = ""
    slug: str = ""


class _Label(Struct):
    id: int = named(name="LabelID")
    source: str = named(name="LabelSrc", default="")
    uncertainty: int = named(name="Uncertainty", default=0)
    label: _Name | None = named(name="Label", default=None)

    @property
    def name(self) -> str:
        return self.label.name if self.label else ""


class _Photo(Struct, rename="pascal"):
    title: str = ""
    title_src: str = ""
    description: str = ""
    description_src: str = ""
    caption: str = ""
    caption_src: str = ""
    original_name: str = ""
    details: _Details | None = None
    albums: list[_Album] | None = None
    files: list[_File] | None = None
    labels: list[_Label] | None = None


@dataclass
class PhotoPrism(PhotoServer):
    """A server of PhotoPrism; a label's uncertainty is what its probability lacks of 100 %."""

    API: ClassVar[str] = "/api/v1"

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """See `Immich`."""
        return {"Authorization": f"Bearer {key}"}

    def pages(self) -> Iterator[list[str]]:
        """See `Immich`."""
        for offset in count(0, PAGE):
            listed = self._listed(PAGE, offset)
            yield [each.uid for each in listed if each.type != "video"]
            if len(listed) < PAGE:
                return

    def _listed(self, number: int, offset: int) -> list[_Listed]:
        path = f"photos?count={number}&offset={offset}&order=added&quality=0&q=primary:true"
        response = self.reply("GET", path)
        token = response.headers.get("X-Preview-Token", "")
        self.token = token if re.fullmatch(r"[\w-]+", token) else "public"
        return self.parsed(response, list[_Listed])

    def texts(self, photo: str) -> tuple[dict[str, str], str]:
        """See `Immich`. Labels and keywords are no evidence: among them are the classifier's, and ours."""
        if not self.token:
            self._listed(1, 0)
        found = self.photo(f"photos/{photo}", _Photo)
        primary = next((each for each in found.files or () if each.primary and each.hash), _File())
        named_people = (each.name for file in found.files or () for each in file.markers or () if not each.invalid)
        said = {
            "title": found.title if found.title_src in _OF_PEOPLE else "",
            "description": (found.caption if found.caption_src in _OF_PEOPLE else "")
            or (found.description if found.description_src in _OF_PEOPLE else ""),
            "albums": ", ".join(each.title for each in found.albums or () if each.type == "album"),
            "people": ", ".join(filter(None, dict.fromkeys(named_people))),
            "file_name": (found.original_name or primary.name).rpartition("/")[2],
        }
        return said, f"t/{primary.hash}/{self.token}/fit_720" if primary.hash else ""

    def missing(self, photo: str, labels: Mapping[str, float]) -> list[Op]:
        """See `Immich`. A label that a person removed is there: nobody adds it again.

        PhotoPrism removes the words of a label from the photo's keywords together with it: one that would cost a
        keyword that no other label brings is left out.
        """
        found = self.photo(f"photos/{photo}", _Photo)
        there = found.labels or []
        slugs = {_plain(each.label.slug) for each in there if each.label}
        taken = {"", *slugs, *(_plain(each.name) for each in there)}
        return [
            Op(name, percent=max(1, round(100 * (1 - probability))), before=[each.id for each in there])
            for name, probability in labels.items()
            if _plain(name) not in taken and not _costs(found, name)
        ]

    def add(self, photo: str, ops: Sequence[Op]) -> list[Op]:
        """See `Immich`."""
        added: list[Op] = []
        for op in ops:
            body = {"Name": op.name, "Uncertainty": op.percent, "Priority": 0}
            try:
                labels = self.answer("POST", f"photos/{photo}/label", _Photo, body).labels or []
            except Lost:  # it refuses the name, and may take the others
                continue
            seen = {*op.before, *(int(each.id) for each in added)}
            new = [each for each in labels if each.id not in seen and _ours(each, op)]
            new.sort(key=lambda each: _plain(each.name) != _plain(op.name))
            added += [replace(op, id=str(each.id)) for each in new[:1]]
        return added

    def remove(self, photo: str, op: Op) -> bool:
        """See `Immich`. Of a change that was cut off, the label is known by its name.

        Raises:
            Lost: also, where it would cost a keyword that the photo got meanwhile.
        """
        found = self.photo(f"photos/{photo}", _Photo)
        for each in found.labels or ():
            same = str(each.id) == op.id if op.id else _plain(each.name) == _plain(op.name)
            if same and each.id not in op.before and _ours(each, op):
                if _costs(found, each.name):
                    raise Lost(f"The label {each.name!r} of {photo} would cost a keyword.")
                self.reply("DELETE", f"photos/{photo}/label/{each.id}")
                return True
        return False


def _ours(label: _Label, op: Op) -> bool:
    """Return whether a label is as we write it; one that a person gives or confirms has an uncertainty of 0."""
    return label.source == "manual" and label.uncertainty == op.percent


def _costs(found: _Photo, name: str) -> bool:
    """Return whether a label's end costs a keyword that no label brings."""
    brought = " ".join(each.name for each in found.labels or () if each.uncertainty < _REMOVED)
    keywords = _words(found.details.keywords if found.details else "") - _words(brought)
    return any(word in name.casefold() for word in keywords)


def _plain(name: str) -> str:
    """Return what two names of a label have in common: PhotoPrism knows labels by their slugs, without accents."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", name).casefold()))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[\w'-]+", text.casefold()))

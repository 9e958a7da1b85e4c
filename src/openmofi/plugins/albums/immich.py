"""immich's API, as its OpenAPI specification 3.2.2 has it (https://github.com/immich-app/immich, open-api/)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import ClassVar

from msgspec import Struct

from openmofi.plugins.albums.server import PAGE, ROOT, Id, Lost, Op, PhotoServer

_BANDS = (99, 95, 90, 80, 70, 60, 50, 0)
"""Percent that a label's probability has at least; its tag's last part."""


class _Tag(Struct):
    id: Id
    value: str


class _Named(Struct):
    name: str = ""


class _Exif(Struct):
    description: str | None = None


class _Album(Struct, rename="camel"):
    album_name: str


class _Asset(Struct, rename="camel"):
    id: Id
    original_file_name: str = ""
    exif_info: _Exif | None = None
    people: list[_Named] | None = None
    tags: list[_Tag] | None = None


class _Items(Struct, rename="camel"):
    items: list[_Asset]
    next_page: str | None = None


class _Found(Struct):
    assets: _Items


class _Tagged(Struct):
    count: int


class _Untagged(Struct):
    id: Id
    success: bool
    error: str | None = None


@dataclass
class Immich(PhotoServer):
    """A server of immich; tags are `OpenMOFI/NAME/≥ 95 %`."""

    API: ClassVar[str] = "/api"

    _ids: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def headers(key: str) -> dict[str, str]:
        """Return the headers that carry a key."""
        return {"x-api-key": key}

    def pages(self) -> Iterator[list[str]]:
        """Yield the identifiers of all images, a page at a time."""
        for page in count(1):
            body = {"type": "IMAGE", "page": page, "size": PAGE}
            found = self.answer("POST", "search/metadata", _Found, body).assets
            yield [asset.id for asset in found.items]
            if not found.next_page:
                return

    def texts(self, photo: str) -> tuple[dict[str, str], str]:
        """Return what people say of an image (`reading.TEXTS`), and the path of its preview, "" for none.

        Tags below `ROOT` are ours, and no evidence.
        """
        asset = self.photo(f"assets/{photo}", _Asset)
        albums = self.answer("GET", f"albums?assetId={photo}", list[_Album])
        theirs = (tag.value for tag in asset.tags or () if f"{tag.value}/".partition("/")[0] != ROOT)
        said = {
            "description": (asset.exif_info and asset.exif_info.description) or "",
            "tags": ", ".join(value.replace("/", ", ") for value in theirs),
            "albums": ", ".join(album.album_name for album in albums),
            "people": ", ".join(person.name for person in asset.people or () if person.name),
            "file_name": asset.original_file_name,
        }
        return said, f"assets/{photo}/thumbnail?size=preview"

    def missing(self, photo: str, labels: Mapping[str, float]) -> list[Op]:
        """Return the changes that give a photo those labels (name → probability) that it has not.

        Makes the tags, which nobody has yet; immich removes those that stay so each night.
        """
        there = [f"{tag.value}/" for tag in self.photo(f"assets/{photo}", _Asset).tags or ()]
        ops = []
        for name, probability in labels.items():
            below = f"{ROOT}/{name}/"
            if not any(value.startswith(below) for value in there):
                band = next(each for each in _BANDS if round(100 * probability, 4) >= each)
                ops.append(Op(f"{below}≥ {band} %", self._id(f"{below}≥ {band} %")))
        return ops

    def _id(self, value: str) -> str:
        """Return the identifier of a tag, which is made where it is missing."""
        if value not in self._ids:
            (tag,) = self.answer("PUT", "tags", tuple[_Tag], {"tags": [value]})
            self._ids[value] = tag.id
        return self._ids[value]

    def add(self, photo: str, ops: Sequence[Op]) -> list[Op]:
        """Make changes, and return those that the server made: of a photo of somebody else it makes none.

        The photo says which, where fewer were counted: a request that is repeated counts nothing.
        """
        body = {"tagIds": [op.id for op in ops], "assetIds": [photo]}
        if self.answer("PUT", "tags/assets", _Tagged, body).count >= len(ops):
            return list(ops)
        there = {tag.id for tag in self.photo(f"assets/{photo}", _Asset).tags or ()}
        return [op for op in ops if op.id in there]

    def remove(self, photo: str, op: Op) -> bool:
        """Take a change back, and return whether it was there.

        Raises:
            Lost: the key cannot see the photo, or may not change it.
        """
        try:
            (said,) = self.answer("DELETE", f"tags/{op.id}/assets", tuple[_Untagged], {"ids": [photo]})
        except Lost:  # of a tag that was cleaned up; of one of somebody else, too
            tags = self.photo(f"assets/{photo}", _Asset).tags
            if tags is None or any(tag.id == op.id for tag in tags):
                raise
            return False
        if not said.success and said.error != "not_found":
            raise Lost(f"The {self.role} {self.address} keeps the tag {op.name!r} of {photo}.")
        return said.success

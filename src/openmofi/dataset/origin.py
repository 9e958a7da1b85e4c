"""What a dataset keeps of the shards of pairs that its rows refer to, so that a changed shard is recognised.

The fingerprint of a shard covers every byte of it (`storage.file_fingerprint`), but not the images that a table names.
So that these are seen as well, and so that another copy can be told from other images, a few rows keep the size and the
perceptual hash that their images had when they were labelled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa

from openmofi.errors import OpenMofiError
from openmofi.pairs import MAX_PIXELS, ImageRefused, decode
from openmofi.pairs.images.phash import hashes_differ
from openmofi.storage import Shard, parse_json

SEEN = ("width", "height", "phash")
"""Columns of the labels that an origin is made of."""

_KEY = "pairs"
_SAMPLE = 16
_AGAIN = "Put the old shard back, or label it and build the dataset again."


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """An image as it was when it was labelled: its row of the dataset's table, its size in pixels, its hash."""

    row: int
    width: int
    height: int
    phash: int


@dataclass(frozen=True)
class Origin:
    """The shard of pairs behind one table of a dataset.

    Attributes:
        fingerprint: of the shard when it was labelled; `""` where the dataset, of an earlier version, does not say.
        sample: a few rows' images.
    """

    fingerprint: str = ""
    sample: tuple[Seen, ...] = ()

    @classmethod
    def of(cls, fingerprint: str, images: pa.Table) -> Origin:
        """The origin of rows whose images have the columns `SEEN`, in their order."""
        rows = np.unique(np.linspace(0, len(images) - 1, _SAMPLE).round().astype(int)).tolist() if len(images) else []
        columns = [images[name].take(pa.array(rows, pa.int64())).to_pylist() for name in SEEN]
        return cls(fingerprint, tuple(Seen(*values) for values in zip(rows, *columns, strict=True)))

    def metadata(self) -> dict[str, str]:
        """Return metadata for `storage.write_table`."""
        return {_KEY: json.dumps(msgspec.to_builtins(self))}

    @classmethod
    def parse(cls, path: str, metadata: Mapping[bytes, bytes] | None) -> Origin:
        """The origin that the metadata of a table at `path` holds.

        Raises:
            OpenMofiError: it is damaged.
        """
        if not metadata or _KEY.encode() not in metadata:
            return cls()
        return parse_json(metadata[_KEY.encode()], cls, f"What {path} says of its shard", "Build the dataset again.")

    def is_same(self, fingerprint: str) -> bool:
        """Whether a shard of this `fingerprint` is the one that was labelled, as far as is known."""
        return self.fingerprint in ("", fingerprint)

    def require_same(self, shard: Shard, fingerprint: str) -> None:
        """Compare the shard's `fingerprint` as it is now: where it lies and its times do not matter.

        Raises:
            OpenMofiError: it has changed since it was labelled.
        """
        if not self.is_same(fingerprint):
            raise OpenMofiError(f"{shard.path} has changed since it was labelled.", _AGAIN)

    def require_seen(self, shard: Shard, images: Mapping[int, tuple[str, bytes]], *, any_size: bool = False) -> None:
        """Compare images with what was labelled; those beyond the sample are passed over.

        Args:
            shard: for the error.
            images: row of the dataset's table → its key, its encoded image.
            any_size: a copy may have another size, and other bytes, as long as it looks the same.

        Raises:
            OpenMofiError: one has another size, or more than a quarter look otherwise or cannot be decoded: perceptual
                hashes may differ a little between versions of the decoder, and a disk may lose an image.
        """
        compared = [(seen, *images[seen.row]) for seen in self.sample if seen.row in images]
        other = [key for seen, key, data in compared if _looks_other(seen, data)]
        resized = [key for seen, key, data in compared if not (any_size or _has_size(seen, data))]
        if resized or 4 * len(other) > len(compared):
            raise OpenMofiError(
                f"{shard.path} has other images than when it was labelled: that of the key "
                f"{(resized or other)[0]!r}, for one.",
                _AGAIN,
            )


def _has_size(seen: Seen, data: bytes) -> bool:
    try:
        decoded = decode(data, max_pixels=2 * MAX_PIXELS)
    except ImageRefused:
        return True  # which counts as one that looks otherwise
    return (decoded.width, decoded.height) == (seen.width, seen.height)


def _looks_other(seen: Seen, data: bytes) -> bool:
    try:
        return hashes_differ(data, seen.phash, 2 * MAX_PIXELS)
    except ImageRefused:
        return True

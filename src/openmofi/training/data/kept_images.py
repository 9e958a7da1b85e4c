"""Decoded images that are kept from one epoch to the next, in a bounded part of a process's memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from openmofi.pairs.images.scaled import ScaledImage

_LEAST_SHARE = 0.25
"""Of a dataset's images; where fewer could be kept, an epoch would hardly meet them again."""
_BYTES_A_PIXEL = 4


@dataclass
class KeptImages:
    """Images as they were decoded before; picklable, and each process begins with none.

    The first ones stay: a dataset that is gone through in epochs would push each image out before it comes again.

    Attributes:
        limit: bytes that the kept images may take, encoded and decoded; 0 keeps none.
    """

    limit: int = 0
    _kept: dict[bytes, tuple[ScaledImage, int]] = field(default_factory=dict, repr=False)
    _held: int = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit, "_kept": {}, "_held": 0}

    @classmethod
    def of_dataset(cls, rows: int, side: int, limit: int) -> KeptImages:
        """Keep images where `limit` bytes suffice for a good part of a dataset.

        Args:
            rows: images of the dataset.
            side: of training images, in pixels: an image is decoded at about twice this side or less.
            limit: bytes.
        """
        needed = rows * (2 * side) ** 2 * _BYTES_A_PIXEL
        return cls(limit if limit >= _LEAST_SHARE * needed else 0)

    def opened(self, data: bytes) -> ScaledImage:
        """The image of these bytes.

        Raises:
            ImageRefused, MemoryError: see `ScaledImage.of`.
        """
        known = self._kept.get(data) if self.limit else None
        return known[0] if known else ScaledImage.of(data)

    def keep(self, image: ScaledImage) -> None:
        """Keep an image as far as it is decoded by now, if there is room."""
        if not self.limit:
            return
        _, counted = self._kept.get(image.data, (image, 0))
        held = self._held - counted + image.memory
        if held <= self.limit:
            self._kept[image.data], self._held = (image, image.memory), held
        elif counted:
            # It was decoded at another scale, too.
            del self._kept[image.data]
            self._held -= counted

"""Settings of the dataset. Everything here is in the manifest: equal settings and inputs make the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from openmofi.config import PositiveInt, Settings
from openmofi.errors import UsageError

MAX_BITS = 12


@dataclass(frozen=True)
class DatasetSettings(Settings):
    """Which labelled images become the dataset.

    Attributes:
        min_images: an entity with fewer images is dropped (MOFI keeps entities with about 5 and more).
        max_images: images an entity keeps at most, the most probable ones; `None` for no cap.
        near_duplicates: an image is dropped when an earlier kept one shares an accepted entity and their
            64-bit perceptual hashes differ in at most so many bits, 0..12; `None` keeps them all. See
            `duplicates`.
    """

    min_images: PositiveInt = 5
    max_images: PositiveInt | None = None
    near_duplicates: Annotated[int, Meta(ge=0, le=MAX_BITS)] | None = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_images is not None and self.max_images < self.min_images:
            raise UsageError(
                f"max_images is {self.max_images}, below min_images ({self.min_images}).",
                "No entity could be in the dataset; raise max_images or leave it out.",
            )


def parse_near_duplicates(text: str) -> int | None:
    """`"off"` → `None`, `"3"` → 3.

    Raises:
        UsageError: neither a number nor `off`.
    """
    if text.strip().lower() == "off":
        return None
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"near-duplicates is {text!r}; it must be a number of bits or 'off'.") from error

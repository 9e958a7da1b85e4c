"""Settings of the dataset. Everything here is in the manifest: equal settings and inputs make the same bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from openmofi.errors import UsageError

MAX_BITS = 12


@dataclass(frozen=True)
class DatasetSettings:
    """Which labelled images become the dataset.

    Attributes:
        min_images: an entity with fewer images is dropped (MOFI keeps entities with about 5 and more).
        max_images: images an entity keeps at most, the most probable ones; `None` for no cap.
        near_duplicates: an image is dropped when an earlier kept one shares an accepted entity and their
            64-bit perceptual hashes differ in at most so many bits, 0..12; `None` keeps them all. See
            `duplicates`.
    """

    min_images: int = 5
    max_images: int | None = None
    near_duplicates: int | None = 3

    def __post_init__(self) -> None:
        if self.min_images < 1:
            raise UsageError(f"min_images is {self.min_images}; it must be at least 1.")
        if self.max_images is not None and self.max_images < self.min_images:
            raise UsageError(f"max_images is {self.max_images}, below min_images ({self.min_images}).",
                             "No entity could be in the dataset; raise max_images or leave it out.")
        if self.near_duplicates is not None and not 0 <= self.near_duplicates <= MAX_BITS:
            raise UsageError(f"near_duplicates is {self.near_duplicates}; it must lie between 0 and {MAX_BITS} bits.",
                             "Write 'off' to keep near duplicates.")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the manifest."""
        return asdict(self)


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

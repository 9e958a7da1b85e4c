"""Settings of the dataset. Everything here is in the manifest: equal settings and inputs make the same bytes."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from openmofi.config import PositiveInt, Settings
from openmofi.errors import UsageError

MAX_BITS = 12


@dataclass(frozen=True)
class DatasetSettings(Settings):
    """Which labelled images become the dataset.

    Attributes:
        min_images: drop entities with fewer images (MOFI keeps entities with about 5 and more).
        max_images: keep so many labels of an entity at most; by default all.
        near_duplicates: drop images of one entity whose 64-bit perceptual hashes differ in at most so many bits, 0..12;
            `off` keeps them.
        max_images_by: which labels `max_images` keeps: drawn at random; the most probable, which are prototypes; or, as
            MetaCLIP balances texts (https://arxiv.org/abs/2309.16671), all labels of an image that is drawn for one of
            its entities, where an entity of n images draws each by max_images / n.
        semantic_duplicates: drop images whose features have at least this cosine to those of a more probable image of
            one entity (SemDeDup, https://arxiv.org/abs/2303.09540), between 0 and 1; `off` keeps them.
    """

    min_images: PositiveInt = 5
    max_images: PositiveInt | None = None
    near_duplicates: Annotated[int, Meta(ge=0, le=MAX_BITS)] | None = 3
    max_images_by: Literal["random", "probability", "metaclip"] = "random"
    semantic_duplicates: Annotated[float, Meta(gt=0, lt=1)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_images is not None and self.max_images < self.min_images:
            raise UsageError(
                f"max_images is {self.max_images}, below min_images ({self.min_images}).",
                "No entity could be in the dataset; raise max_images or leave it out.",
            )

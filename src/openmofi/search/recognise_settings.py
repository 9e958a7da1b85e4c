"""Settings of the recognition of many images."""

from dataclasses import dataclass, field

from openmofi.config import PositiveInt, ProperFraction, Settings
from openmofi.pairs import MAX_PIXELS, ReadSettings

UNNAMED = 0.1
"""Share of images that show what no label names, where nothing else is said."""


@dataclass(frozen=True)
class RecogniseSettings(Settings):
    """The recognition job.

    Attributes:
        limit: entities of an image, at most, likeliest first.
        batch_size: images a forward pass. It may change the last bits of an embedding.
        max_image_pixels: larger images are refused before they are decoded.
        read: Reading pairs.
        unnamed: share of the images that show what no label of the index names.
    """

    limit: PositiveInt = 5
    batch_size: PositiveInt = 64
    max_image_pixels: PositiveInt = MAX_PIXELS
    read: ReadSettings = field(default_factory=ReadSettings)
    unnamed: ProperFraction = UNNAMED

"""Settings of a reinforcement. Everything here is in the store's manifest: equal settings and inputs, equal bytes."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from openmofi.config import (
    Fraction,
    NonNegativeInt,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    Settings,
    check_ascending,
)
from openmofi.errors import UsageError

RANDAUGMENT_BINS = 31
"""As torchvision: the greatest magnitude is 30."""


@dataclass(frozen=True)
class TeacherSpec:
    """A teacher as a user names it.

    Attributes:
        spec: see `openmofi.encoders.open_encoder`.
        scale: the factor on cosines in its softmax.
    """

    spec: str
    scale: float


@dataclass(frozen=True)
class AugmentSettings(Settings):
    """How augmentations are drawn; torchvision's meanings.

    Attributes:
        scale, ratio: of RandomResizedCrop: share of the image's area, and width by height.
        flip: probability.
        ops, magnitude: of RandAugment: how many ops, and 0..30.
    """

    scale: tuple[PositiveFraction, PositiveFraction] = (0.08, 1.0)
    ratio: tuple[PositiveFloat, PositiveFloat] = (3 / 4, 4 / 3)
    flip: Fraction = 0.5
    ops: NonNegativeInt = 2
    magnitude: Annotated[int, Meta(ge=0, lt=RANDAUGMENT_BINS)] = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ascending(scale=self.scale, ratio=self.ratio)


@dataclass(frozen=True)
class ReinforceSettings(Settings):
    """What is computed of a dataset and how it is stored.

    Attributes:
        teachers: their specs and scales.
        augmentations: augmentations of a sample.
        captions: synthetic texts of a sample.
        precision: of the stored embeddings; `int8` has a scale a vector.
        size: height and width of the augmentations in pixels; 0 takes that of the largest teacher.
        captioner: `hf:PATH-OR-ID` of an image-to-text model or `open_clip:` and a CoCa, or several with commas between,
            which take turns; where empty, texts are made of the accepted entities.
        augment: How augmentations are drawn.
        batch_size: augmentations a forward pass, about. It may change the last bits of an embedding.
        seed: of the augmentations and the texts.
        entity_scores: keep each teacher's so many likeliest of the accepted entities for each augmentation; 0 keeps
            none.
    """

    teachers: Annotated[tuple[TeacherSpec, ...], Meta(min_length=1)]
    # The gain saturates at 5 augmentations and 2 texts (MobileCLIP §4).
    augmentations: PositiveInt = 5
    captions: NonNegativeInt = 2
    precision: Literal["fp16", "bf16", "int8"] = "fp16"
    size: NonNegativeInt = 0
    captioner: Annotated[
        str,
        Meta(
            pattern=r"^((hf|open_clip):[^,]+(,(hf|open_clip):[^,]+)*)?$",
            description="hf:FOLDER, hf:OWNER/NAME or open_clip:ARCH/WEIGHTS, or several with commas between",
        ),
    ] = ""
    augment: AugmentSettings = AugmentSettings()
    batch_size: PositiveInt = 64
    seed: NonNegativeInt = 0
    entity_scores: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        captioners = len(self.captioner.split(",")) if self.captioner else 0
        if 0 < self.captions < captioners:
            raise UsageError(
                f"{captioners} captioners cannot take turns at {self.captions} synthetic texts.",
                f"Raise --captions to {captioners} or more.",
            )

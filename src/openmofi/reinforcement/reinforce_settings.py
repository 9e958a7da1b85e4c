"""Settings of a reinforcement. Everything here is in the store's manifest: equal settings and inputs, equal bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from openmofi.config import NonNegativeInt, PositiveInt, Settings
from openmofi.reinforcement.augmentation import AugmentSettings
from openmofi.reinforcement.teachers import TeacherSpec


@dataclass(frozen=True)
class ReinforceSettings(Settings):
    """What is computed of a dataset and how it is stored.

    Attributes:
        teachers: their specs and scales.
        augmentations: augmentations a sample; the gain saturates at 5 (MobileCLIP §4).
        captions: synthetic texts a sample; the gain saturates at 2.
        precision: `fp16`, `bf16` or `int8` with a scale a vector.
        size: height and width of the augmentations in pixels; 0 takes that of the largest teacher.
        captioner: `hf:PATH-OR-ID` of an image-to-text model; `""` writes texts from the accepted entities.
        augment: how augmentations are drawn.
        batch_size: augmentations a forward pass, about; it may change the last bits of an embedding.
        seed: of the augmentations and the texts.
        entity_scores: how many of the likeliest entities of each augmentation are kept of each teacher, among those
            that the labels accepted; 0 keeps none.
    """

    teachers: Annotated[tuple[TeacherSpec, ...], Meta(min_length=1)]
    augmentations: PositiveInt = 5
    captions: NonNegativeInt = 2
    precision: Literal["fp16", "bf16", "int8"] = "fp16"
    size: NonNegativeInt = 0
    captioner: Annotated[str, Meta(pattern="^(hf:.|$)", description="hf:FOLDER or hf:OWNER/NAME")] = ""
    augment: AugmentSettings = AugmentSettings()
    batch_size: PositiveInt = 64
    seed: NonNegativeInt = 0
    entity_scores: NonNegativeInt = 0

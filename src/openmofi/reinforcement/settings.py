"""Settings of a reinforcement. Everything here is in the store's manifest: equal settings and inputs, equal bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from openmofi.errors import UsageError
from openmofi.reinforcement.augmentation import AugmentSettings
from openmofi.reinforcement.captioner import check_captioner
from openmofi.reinforcement.precision import check_precision
from openmofi.reinforcement.teachers import TeacherSpec


@dataclass(frozen=True)
class ReinforceSettings:
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

    teachers: tuple[TeacherSpec, ...]
    augmentations: int = 5
    captions: int = 2
    precision: str = "fp16"
    size: int = 0
    captioner: str = ""
    augment: AugmentSettings = AugmentSettings()
    batch_size: int = 64
    seed: int = 0
    entity_scores: int = 0

    def __post_init__(self) -> None:
        check_precision(self.precision)
        check_captioner(self.captioner)
        if not self.teachers:
            raise UsageError("There is no teacher.", "Name at least one as SPEC:SCALE.")
        for name, least in (("augmentations", 1), ("captions", 0), ("size", 0), ("entity_scores", 0),
                            ("batch_size", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least {least}.")

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, for the manifest."""
        return asdict(self)

"""Teachers: encoders whose knowledge of a dataset is stored, each with its own scale of similarities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count

import numpy as np

from openmofi.arrays import Array
from openmofi.encoders import Encoder, Preprocessing, open_encoder
from openmofi.errors import UsageError
from openmofi.plugins.reinforcement.reinforce_settings import TeacherSpec

LEAST_SCALE = 5.0
"""A teacher with a smaller scale is refused: softmax(1.0 · cosines) is nearly uniform over any batch, and a student
silently learns nothing from it. Trained image–text encoders have scales of 20 to 100."""

_TUNE = "Find it on held-out pairs with: openmofi reinforce PAIRS --teachers {spec} --tune-scale"


@dataclass(frozen=True)
class Teacher:
    """A teacher of a store.

    Attributes:
        name: unique in the store; the last parts of its spec.
        spec: see `openmofi.encoders.open_encoder`.
        dim: of its embeddings.
        scale: the factor s on cosines in softmax(s · Ψ_image Ψ_textᵀ) (MobileCLIP, arXiv 2311.17049, eq. 2).
        preprocessing: of its images; it saw the store's augmentations, squashed to its size.
        fingerprint: of its weights and preprocessing.
    """

    name: str
    spec: str
    dim: int
    scale: float
    preprocessing: Preprocessing
    fingerprint: str = ""


def parse_teachers(text: str) -> tuple[TeacherSpec, ...]:
    """`run:a/b:100,hf:x:50` → specs and scales: commas separate teachers, the last colon a spec from its scale.

    Raises:
        UsageError: no teacher, a repeated one, or one without a finite scale of at least `LEAST_SCALE`.
    """
    specs = []
    for part in _parts(text):
        spec, colon, last = part.rpartition(":")
        scale = _number(last) if colon else None
        if scale is None:
            raise UsageError(
                f"The teacher {part!r} has no scale, which its softmax over similarities needs.",
                f"Write SPEC:SCALE. {_TUNE.format(spec=part)}",
            )
        if not math.isfinite(scale) or scale < LEAST_SCALE:
            raise UsageError(
                f"The scale of the teacher {spec!r} is {last}; it must be finite and at least "
                f"{LEAST_SCALE:g}, or the teacher is near uniform.",
                _TUNE.format(spec=spec),
            )
        specs.append(TeacherSpec(spec, scale))
    return tuple(specs)


def parse_specs(text: str) -> tuple[str, ...]:
    """The specs alone, of teachers with or without scales.

    Raises:
        UsageError: no teacher, or a repeated one.
    """
    return tuple(
        part.rpartition(":")[0] if _number(part.rpartition(":")[2]) is not None else part for part in _parts(text)
    )


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UsageError(f"{text!r} does not name teachers.", "Write SPEC:SCALE[,SPEC:SCALE…].")
    if len(set(parts)) < len(parts):
        raise UsageError(f"{text!r} names a teacher twice.", "Name each once.")
    return parts


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def open_teachers(
    chosen: Sequence[TeacherSpec], device: str = "cpu", precision: str = "fp32"
) -> tuple[tuple[Teacher, ...], tuple[Encoder, ...]]:
    """Open the encoders and describe them as teachers.

    Args:
        chosen: specs and scales.
        device, precision: see `openmofi.encoders.open_encoder`.

    Raises:
        UsageError: the device does not exist, or a teacher cannot run in the precision.
        OpenMofiError: an encoder cannot be opened, or it has no joint space of images and texts.
    """
    teachers: list[Teacher] = []
    encoders: list[Encoder] = []
    for choice in chosen:
        bases = [encoder.heads.base for encoder in encoders if encoder.heads]
        encoder = open_encoder(choice.spec, device=device, precision=precision, bases=bases)
        encoder.require_comparison()
        name = _name(choice.spec, [teacher.name for teacher in teachers])
        teachers.append(
            Teacher(name, choice.spec, encoder.dim, choice.scale, encoder.preprocessing, encoder.fingerprint)
        )
        encoders.append(encoder)
    return tuple(teachers), tuple(encoders)


def whole_square(preprocessing: Preprocessing) -> Preprocessing:
    """A teacher's preprocessing of an augmentation: squashed, since its own crop would cut off what was drawn."""
    return replace(preprocessing, resize="squash", resize_size=0)


class SharedBackbones:
    """Embeds for several encoders; those over one backbone share its features, which are computed once.

    The features of each distinct text are kept: texts of entities recur.

    Attributes:
        preprocessing: backbone, numbered by the first encoder over it → how its images are made, see `whole_square`.
    """

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        keys = [(encoder.feature_fingerprint, encoder.preprocessing) for encoder in encoders]
        self._encoders = [(encoder, keys.index(key)) for encoder, key in zip(encoders, keys, strict=True)]
        self.preprocessing = {
            backbone: whole_square(encoders[backbone].preprocessing)
            for backbone in sorted({backbone for _, backbone in self._encoders})
        }
        self._texts: dict[int, dict[str, Array]] = {backbone: {} for backbone in self.preprocessing}

    def embed_images(self, pixels: Mapping[int, Array]) -> list[Array]:
        """Backbone → (n, 3, size, size) float32; each encoder's (n, dim) float32, L2-normalised. n is not 0."""
        features = {backbone: self._encoders[backbone][0].image_features(values) for backbone, values in pixels.items()}
        return [encoder.project_images(features[backbone]) for encoder, backbone in self._encoders]

    def read(self, texts: Sequence[str]) -> None:
        """Keep the features of these texts, for `embed_texts`; those of one call are computed together."""
        for backbone, features in self._texts.items():
            if new := [text for text in dict.fromkeys(texts) if text not in features]:
                features.update(zip(new, self._encoders[backbone][0].text_features(new), strict=True))

    def embed_texts(self, texts: Sequence[str]) -> list[Array]:
        """Each encoder's (n, dim) float32, L2-normalised; n is not 0."""
        self.read(texts)
        return [
            encoder.project_texts(np.stack([self._texts[backbone][text] for text in texts]))
            for encoder, backbone in self._encoders
        ]


def _name(spec: str, taken: Sequence[str]) -> str:
    parts = [part for part in spec.rpartition(":")[2].split("/") if part not in ("", ".", "..")]
    name = "-".join(parts[-2:]) or "teacher"
    return next(unique for unique in chain([name], (f"{name}-{number}" for number in count(2))) if unique not in taken)

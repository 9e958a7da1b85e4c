"""Settings of the objectives, which a recipe declares with their weights in the sum, and of what teachers stored."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from openmofi.config import (
    FREE,
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    Settings,
)
from openmofi.errors import UsageError

Positives = Literal["none", "text", "entity", "entity-or-text"]


@dataclass(frozen=True)
class MarginSoftmaxSettings(Settings):
    """Large-margin softmax over entities (MOFI §3, arXiv 2306.07952).

    Attributes:
        weight: of this loss in the sum; 0 leaves it out.
        implementation: `exact` or `sampled`.
        margin_type: `cosface` (subtracted from the cosine) or `arcface` (added to the angle).
        margin, scale: the paper leaves both open; these are likely values.
        sample_rate: share of the classes sampled as negatives (`sampled`).
        min_sampled: at least so many classes are sampled, however few that share is.
        logq: correct the logits of sampled negatives by −log of the probability with which each is drawn.
        chunk: classes in a tile of `exact`.
        negative_filter: negatives with a cosine above it are dropped; 1 is off.
        sub_centers: vectors a class; the best counts.
        label_weights: `uniform`, or `score`: a label counts as much as its selection score.
        texts: weight of the same loss of the texts, each one of its image's best label: images and texts of an entity
            have one class vector, with an angular margin (MCIP's second method, arXiv 2409.01936); 0 leaves it out.
        weight_decay: the head's own; its learning rate is `optimizer.head_lr`.
    """

    weight: NonNegativeFloat = 0.0
    implementation: Literal["exact", "sampled"] = "sampled"
    margin_type: Literal["cosface", "arcface"] = "cosface"
    margin: Annotated[float, Meta(ge=0, lt=math.pi)] = 0.15
    scale: PositiveFloat = 32.0
    sample_rate: PositiveFraction = 0.1
    min_sampled: NonNegativeInt = 36_864
    logq: bool = True
    chunk: PositiveInt = 16_384
    negative_filter: Annotated[float, Meta(gt=-1, le=1)] = 1.0
    sub_centers: PositiveInt = 1
    label_weights: Literal["uniform", "score"] = "uniform"
    texts: NonNegativeFloat = 0.0
    weight_decay: NonNegativeFloat = 0.0


@dataclass(frozen=True)
class ContrastiveSettings(Settings):
    """Image against text (CLIP, SigLIP).

    Attributes:
        weight: of this loss in the sum; 0 leaves it out.
        loss: `infonce` or `sigmoid`.
        positives: pairs that are positives of each other besides their own: `none`, `text` (equal texts), `entity` (a
            shared entity), `entity-or-text`.
        scale, max_scale: initial and greatest logit scale; learned.
        bias: initial logit bias of `sigmoid`; learned.
        chunk: rows of the logits held at once, recomputed in the backward pass; 0 holds all.
    """

    weight: NonNegativeFloat = 0.0
    loss: Literal["infonce", "sigmoid"] = "infonce"
    positives: Positives = "text"
    scale: PositiveFloat = 1 / 0.07
    max_scale: PositiveFloat = 100.0
    bias: float = -10.0
    chunk: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_scale(self.scale, self.max_scale)


@dataclass(frozen=True)
class ReinforcedSettings(Settings):
    """Teachers' knowledge of the pairs beside the pairs (MobileCLIP, arXiv 2311.17049, §3.3).

    Attributes:
        weight: of this loss in the sum; 0 leaves it out.
        share: λ: of distillation; the rest is InfoNCE. The paper uses 0.75 to 1.
        captions: weight of the synthetic texts' loss beside that of the pairs' own; 0 leaves it out.
        positives: of InfoNCE, see `ContrastiveSettings`.
        scale, max_scale: the student's, see `ContrastiveSettings`; teachers have their own in the store.
        chunk: see `ContrastiveSettings`.
    """

    weight: NonNegativeFloat = 0.0
    share: Fraction = 0.75
    captions: NonNegativeFloat = 1.0
    positives: Positives = "none"
    scale: PositiveFloat = 1 / 0.07
    max_scale: PositiveFloat = 100.0
    chunk: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_scale(self.scale, self.max_scale)


@dataclass(frozen=True)
class Reinforcement(Settings):
    """What teachers know of the dataset, as `openmofi reinforce` stored it.

    Where there is a store, its augmentations are replayed in place of `data.augment`: to the pixel where the model's
    size and filter are the store's.

    Attributes:
        store: its folder; empty for none.
        mismatch: what to do with an image whose bytes are not those that were reinforced, or that the store lacks:
            `plain` learns from it without teachers (with `data.augment`) and counts it, `stop` ends the run.
    """

    store: Annotated[str, FREE] = ""
    mismatch: Literal["plain", "stop"] = "plain"


@dataclass(frozen=True)
class EntityDistillationSettings(Settings):
    """What teachers think an image shows, beside its labels; see `objectives.entity_distillation`.

    Attributes:
        weight: of this loss in the sum; 0 leaves it out. It needs the classes of `margin_softmax`.
    """

    weight: NonNegativeFloat = 0.0


@dataclass(frozen=True)
class FeatureDistillationSettings(Settings):
    """Teachers' embeddings of the images; see `objectives.feature_distillation`.

    Attributes:
        weight: of this loss in the sum; 0 leaves it out.
    """

    weight: NonNegativeFloat = 0.0


def _check_scale(scale: float, max_scale: float) -> None:
    if scale > max_scale:
        raise UsageError(f"scale is {scale:g}, above max_scale = {max_scale:g}.")

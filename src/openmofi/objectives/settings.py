"""Settings of the objectives; a recipe declares them, and their weights in the sum."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MarginSoftmaxSettings:
    """Large-margin softmax over entities (MOFI §3; REFERENCE.md section 2).

    Attributes:
        weight: of this loss in the sum; 0 leaves it out.
        implementation: `exact` or `sampled`.
        margin_type: `cosface` (subtracted from the cosine) or `arcface` (added to the angle).
        margin, scale: see the paper; both are likely values, marked open there.
        sample_rate: share of the classes sampled as negatives (`sampled`).
        min_sampled: at least so many classes are sampled, however few that share is.
        logq: correct the logits of sampled negatives by −log of the probability with which each is drawn.
        chunk: classes in a tile of `exact`.
        negative_filter: negatives with a cosine above it are dropped; 1 is off.
        sub_centers: vectors a class; the best counts.
        label_weights: `uniform`, or `score`: a label counts as much as its selection score.
        lr_multiplier: the head's learning rate as a factor of the encoder's.
        weight_decay: the head's own.
    """

    weight: float = 0.0
    implementation: str = "sampled"
    margin_type: str = "cosface"
    margin: float = 0.15
    scale: float = 32.0
    sample_rate: float = 0.1
    min_sampled: int = 36_864
    logq: bool = True
    chunk: int = 16_384
    negative_filter: float = 1.0
    sub_centers: int = 1
    label_weights: str = "uniform"
    lr_multiplier: float = 1.0
    weight_decay: float = 0.0


@dataclass(frozen=True)
class ContrastiveSettings:
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

    weight: float = 0.0
    loss: str = "infonce"
    positives: str = "text"
    scale: float = 1 / 0.07
    max_scale: float = 100.0
    bias: float = -10.0
    chunk: int = 0


@dataclass(frozen=True)
class ReinforcedSettings:
    """Teachers' knowledge of the pairs beside the pairs (MobileCLIP, arXiv 2311.17049, §3.3).

    Attributes:
        weight: of this loss in the sum; 0 leaves it out.
        share: λ: of distillation; the rest is InfoNCE. The paper uses 0.75 to 1.
        captions: weight of the synthetic texts' loss beside that of the pairs' own; 0 leaves it out.
        positives: of InfoNCE, see `ContrastiveSettings`.
        scale, max_scale: the student's, see `ContrastiveSettings`; teachers have their own in the store.
        chunk: see `ContrastiveSettings`.
    """

    weight: float = 0.0
    share: float = 0.75
    captions: float = 1.0
    positives: str = "none"
    scale: float = 1 / 0.07
    max_scale: float = 100.0
    chunk: int = 0


@dataclass(frozen=True)
class EntityDistillationSettings:
    """What teachers think an image shows, beside its labels; see `objectives.entity_distillation`.

    Attributes:
        weight: of this loss in the sum; 0 leaves it out. It needs the classes of `margin_softmax`.
    """

    weight: float = 0.0


@dataclass(frozen=True)
class FeatureDistillationSettings:
    """Teachers' embeddings of the images; see `objectives.feature_distillation`.

    Attributes:
        weight: of this loss in the sum; 0 leaves it out.
    """

    weight: float = 0.0

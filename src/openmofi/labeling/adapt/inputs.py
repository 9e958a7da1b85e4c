"""What heads are fitted on, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.encoders import Array, Head
from openmofi.errors import UsageError
from openmofi.labeling.adapt.bags import Bags

OBJECTIVES = ("partial_labels", "alt_text")


@dataclass(frozen=True)
class HeadSettings:
    """How heads are fitted.

    Attributes:
        objective: `partial_labels` or `alt_text`.
        dim: of the joint space (an adapter keeps its base's).
        batch_size, epochs, learning_rate, weight_decay: of AdamW with a one-cycle schedule.
        feature_dropout: share of the image features that are zeroed in a training step; what keeps the heads from
            learning single pages by heart.
        classes: entities in a step's softmax besides the batch's own.
        class_vectors: learn a vector of each entity beyond its text (`partial_labels` only).
        folds: cross-fitted copies, see `openmofi.labeling.judge.evidence`; 0 for none.
        scale: the initial logit scale; learned, at most 100.
        max_pairs: at most so many pairs are used.
        seed: of initialisation, batches, dropout and sampled classes.
    """

    objective: str = "partial_labels"
    dim: int = 512
    batch_size: int = 512
    epochs: int = 5
    learning_rate: float = 2e-3
    weight_decay: float = 0.5
    feature_dropout: float = 0.5
    classes: int = 2048
    class_vectors: bool = True
    folds: int = 4
    scale: float = 30.0
    max_pairs: int = 1_000_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise UsageError(f"There is no objective {self.objective!r}.", f"Use one of {', '.join(OBJECTIVES)}.")


@dataclass(frozen=True)
class Inputs:
    """What heads are fitted on.

    Attributes:
        images: (n, features) float16 or float32, from what the heads start.
        texts: (entities, features) float32, of the entities' texts.
        captions: (n, features) float32 of the captions; `None` for partial labels.
        bags: gives the bags, weights and folds.
        image_head, text_head: before training.
        adapter: whether the heads' output is added to their input.
    """

    images: NDArray[np.floating[Any]]
    texts: Array
    captions: Array | None
    bags: Bags
    image_head: Head
    text_head: Head
    adapter: bool

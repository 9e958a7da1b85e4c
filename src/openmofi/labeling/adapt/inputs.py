"""What heads are fitted on, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from openmofi.config import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, ProperFraction, Settings
from openmofi.encoders import Array, Head
from openmofi.labeling.adapt.bags import Bags


@dataclass(frozen=True)
class HeadSettings(Settings):
    """How heads are fitted.

    Attributes:
        objective: `partial_labels` or `alt_text`.
        dim: of the joint space (an adapter keeps its base's).
        batch_size, epochs, learning_rate, weight_decay: of AdamW with a one-cycle schedule.
        feature_dropout: share of the image features that are zeroed in a training step; what keeps the heads from
            learning single pages by heart.
        stay: of an adapter: weight of the mean 1 − cosine of image embeddings to those of its base. 10 has the least
            loss on held-out groups, summed over the sample world's pages and Openclipart's (of 0, 10, 30).
        classes: entities in a step's softmax besides the batch's own.
        class_vectors: learn a vector of each entity beyond its text (`partial_labels` only).
        folds: cross-fitted copies, see `openmofi.labeling.calibrate.evidence`; 0 for none.
        scale: the initial logit scale; learned, at most 100.
        max_pairs: at most so many pairs are used.
        seed: of initialisation, batches, dropout and sampled classes.
    """

    objective: Literal["partial_labels", "alt_text"] = "partial_labels"
    dim: PositiveInt = 512
    batch_size: PositiveInt = 512
    epochs: NonNegativeInt = 5
    learning_rate: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 0.5
    feature_dropout: ProperFraction = 0.5
    stay: NonNegativeFloat = 10.0
    classes: NonNegativeInt = 2048
    class_vectors: bool = True
    folds: Annotated[int, Meta(ge=0, le=100)] = 4
    scale: PositiveFloat = 30.0
    max_pairs: PositiveInt = 1_000_000
    seed: NonNegativeInt = 0


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

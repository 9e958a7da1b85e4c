"""Fits the light part of an encoder on the job's own links: projection heads over frozen backbones, or an adapter.

Two objectives over the same pages, neither of which sees a truth: `partial_labels` (MIL-NCE: the caption's linked
entities are the bag) and `alt_text` (plain contrastive on the captions, as in the paper).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openmofi.config import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, ProperFraction, Settings
from openmofi.encoders import Array, Encoder, Head, save_projection_encoder
from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.features.entities import EntityFeatures
from openmofi.labeling.adapt.bags import Bags
from openmofi.labeling.adapt.classes import ClassVectors, Folds


@dataclass(frozen=True)
class HeadSettings(Settings):
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

    objective: Literal["partial_labels", "alt_text"] = "partial_labels"
    dim: PositiveInt = 512
    batch_size: PositiveInt = 512
    epochs: NonNegativeInt = 5
    learning_rate: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 0.5
    feature_dropout: ProperFraction = 0.5
    classes: NonNegativeInt = 2048
    class_vectors: bool = True
    folds: NonNegativeInt = 4
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


def fit_heads(encoder: Encoder, bags: Bags, known: EntityFeatures, settings: HeadSettings, folder: str | Path, *,
              adapter: bool, seen: Sequence[str], progress: Progress) -> dict[str, float]:
    """Train heads over `encoder` and write them as a `run:` encoder, with its folds, to `folder`.

    With `adapter` the heads start as a change of nothing over the encoder's own joint space.

    Args:
        encoder: the frozen base.
        bags: the pages.
        known: the entities that the bags name.
        settings: see `HeadSettings`.
        folder: gets the encoder, `classes.parquet`, `folds/`, `folds.json`.
        adapter: see above.
        seen: fingerprints of the shards behind `bags`.
        progress: told of every epoch.

    Returns:
        Mean `loss` of the last epoch and `first_loss` of the first, of the heads fitted on all pages.

    Raises:
        OpenMofiError: too few pairs with a link.
    """
    from openmofi.labeling.adapt.loop import train

    linked = (bags.bag >= 0).any(axis=1)
    if linked.sum() < max(2, settings.folds):
        raise OpenMofiError(f"Only {linked.sum()} usable pairs have a link: nothing can be fitted.", "Give more pairs.")
    inputs = _inputs(encoder, bags, known, settings, adapter)
    rows = np.flatnonzero(linked) if inputs.captions is None else np.arange(len(bags))
    fold = bags.fold(settings.folds) if settings.folds else np.zeros(len(bags), np.int64)
    progress.begin("heads", settings.epochs * (settings.folds + 1))
    results = {}
    for part in range(-1, settings.folds):
        place = Path(folder) if part < 0 else Path(folder) / "folds" / str(part)
        chosen = rows if part < 0 else rows[fold[rows] != part]
        trained = train(inputs, chosen, settings, settings.seed + part + 1, progress)
        if trained.classes is not None:
            ClassVectors(known.ids, trained.classes).save(place)
        save_projection_encoder(place, base=encoder, image_head=trained.image, text_head=trained.text,
                                logit_scale=trained.scale, settings=asdict(settings), adapter=adapter)
        if part < 0:
            results = {"loss": trained.loss, "first_loss": trained.first_loss}
    if settings.folds:
        Folds(settings.folds, seen).save(folder)
    return results


def _inputs(encoder: Encoder, bags: Bags, known: EntityFeatures, settings: HeadSettings, adapter: bool) -> Inputs:
    captions = encoder.text_features(bags.texts) if settings.objective == "alt_text" else None
    if adapter:
        captions = None if captions is None else encoder.project_texts(captions)
        images, texts = encoder.project_images(bags.features.astype(np.float32)), encoder.project_texts(known.features)
        dim = images.shape[1]
        heads = [Head.initial(dim, dim, seed=settings.seed + side, zero=True) for side in (0, 1)]
        return Inputs(images, texts, captions, bags, heads[0], heads[1], adapter)
    sample = bags.features[:: max(1, len(bags) // 50_000)].astype(np.float32)
    image_head = Head.initial(sample.shape[1], settings.dim, seed=settings.seed, mean=sample.mean(axis=0),
                              std=sample.std(axis=0) + np.float32(1e-3))
    text_head = Head.initial(known.features.shape[1], settings.dim, seed=settings.seed + 1)
    return Inputs(bags.features, known.features, captions, bags, image_head, text_head, adapter)

"""Nearest-neighbour classification as DINOv2 evaluates it; see `openmofi.evaluation.metrics.ranking` for the formula.

Data: Any classification data, ImageNet (https://image-net.org, research only) in the paper. Layout:
DIR/train/CLASS/IMAGE and DIR/val/CLASS/IMAGE (or test).
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from openmofi.config import PositiveFloat, PositiveInt, Settings
from openmofi.encoders import Encoder
from openmofi.evaluation.metrics.ranking import NEIGHBOURS, TEMPERATURE, nearest_neighbours
from openmofi.evaluation.protocol import EvaluationProtocol, Measured, Subject, data_fingerprint, nearest_failures
from openmofi.plugins.protocols.class_names import (
    TEST,
    TRAIN,
    VALIDATION,
    check_all_classes,
    required_split,
    same_classes,
)


@dataclass(frozen=True)
class KnnSettings(Settings):
    """Settings of `knn`.

    Attributes:
        k: numbers of neighbours.
        temperature: divides similarities.
        preprocessing: `encoder`: the encoder's own; `dinov2`: DINOv2's evaluation transform at the encoder's size
            (shorter side to 256/224 of it, bicubic, centre crop).
    """

    k: Annotated[tuple[PositiveInt, ...], Meta(min_length=1)] = NEIGHBOURS
    temperature: PositiveFloat = TEMPERATURE
    preprocessing: Literal["encoder", "dinov2"] = "encoder"


def prepare(encoder: Encoder, settings: KnnSettings) -> Encoder:
    """The encoder with the preprocessing of the settings."""
    preprocessing = encoder.preprocessing
    return (
        encoder
        if settings.preprocessing == "encoder"
        else encoder.with_preprocessing(
            replace(
                preprocessing,
                resize_size=round(preprocessing.size * 256 / 224),
                interpolation="bicubic",
                resize="shortest",
                antialias=True,
            )
        )
    )


def measure(subject: Subject) -> Measured:
    """See `openmofi.evaluation.metrics.ranking`."""
    settings: KnnSettings = subject.settings
    train = required_split(subject.data, TRAIN)
    test = same_classes(train, required_split(subject.data, (*VALIDATION, *TEST)))
    base, queries = subject.features.embed(train.sources()), subject.features.embed(test.sources())
    base_labels, labels = train.labels_of(base), test.labels_of(queries)
    check_all_classes(train.classes, base_labels, train.root)
    neighbours = nearest_neighbours(
        base.embeddings, base_labels, queries.embeddings, k=settings.k, temperature=settings.temperature
    )
    values = {f"top1_k{k}": (answers == labels).astype(np.float64) for k, answers in neighbours.answers.items()}
    names, base_names = ([train.classes[label] for label in side.tolist()] for side in (labels, base_labels))
    # The worst queries: those whose own class has the smallest share of the neighbours' similarities.
    correct = base_labels[neighbours.rows] == labels[:, None]
    share = (correct * neighbours.similarities).sum(axis=1) / np.abs(neighbours.similarities).sum(axis=1)
    worst = np.argsort(share, kind="stable")[: subject.failures]
    return Measured.of_items(
        queries.keys,
        names,
        values,
        drawn=labels,
        counts={"train": len(base.keys), "images": len(queries.keys), "classes": len(train.classes)},
        data_fingerprint=data_fingerprint([base, queries], [base_labels.tolist(), labels.tolist()]),
        images=[base, queries],
        failures=nearest_failures(
            (queries.ids, names, share),
            worst.tolist(),
            (base.ids, base_names),
            (neighbours.rows[worst], neighbours.similarities[worst], correct[worst]),
        ),
    )


PROTOCOL = EvaluationProtocol(
    name="knn",
    version=1,
    headline="top1_k10",
    settings=KnnSettings,
    measure=measure,
    prepare=prepare,
    score="share of its class in the neighbours' similarities",
    by_class=True,
    rule="Images that cannot be read are left out of both splits; accuracy is over those that could be read.",
)

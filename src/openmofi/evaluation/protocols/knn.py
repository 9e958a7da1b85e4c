"""Nearest-neighbour classification as DINOv2 evaluates it; see `openmofi.evaluation.metrics.knn` for the formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from openmofi.config import PositiveFloat, PositiveInt, Settings
from openmofi.encoders import Encoder
from openmofi.evaluation.data.folders import (
    TEST,
    TRAIN,
    VALIDATION,
    ClassFolders,
    Ints,
    lost_classes,
    required_split,
    same_classes,
)
from openmofi.evaluation.features import as_dinov2, data_fingerprint
from openmofi.evaluation.metrics.bootstrap import bootstrap_interval
from openmofi.evaluation.metrics.knn import NEIGHBOURS, TEMPERATURE, Neighbours, nearest_neighbours
from openmofi.evaluation.protocol import EvaluationProtocol, Failure, Measured, Subject
from openmofi.evaluation.protocols.ranked import NEIGHBOURS_SHOWN
from openmofi.evaluation.result import items_table


@dataclass(frozen=True)
class KnnSettings(Settings):
    """Settings of `knn`.

    Attributes:
        k: numbers of neighbours.
        temperature: divides similarities.
        preprocessing: `encoder`: what travels with it; `dinov2`: DINOv2's evaluation transform at the encoder's size
            (shorter side to 256 of 224, bicubic, centre crop).
    """

    k: Annotated[tuple[PositiveInt, ...], Meta(min_length=1)] = NEIGHBOURS
    temperature: PositiveFloat = TEMPERATURE
    preprocessing: Literal["encoder", "dinov2"] = "encoder"



def prepare(encoder: Encoder, settings: KnnSettings) -> Encoder:
    """The encoder, with the transform that the settings ask for."""
    return as_dinov2(encoder) if settings.preprocessing == "dinov2" else encoder


def measure(subject: Subject) -> Measured:
    """See `openmofi.evaluation.metrics.knn`."""
    train = required_split(subject.data, TRAIN)
    test = same_classes(train, required_split(subject.data, (*VALIDATION, *TEST)))
    base, queries = subject.features.embed(train.sources()), subject.features.embed(test.sources())
    base_labels, labels = train.labels_of(base), test.labels_of(queries)
    lost_classes(train.classes, base_labels, str(train.root))
    settings = subject.settings
    found = nearest_neighbours(base.embeddings, base_labels, queries.embeddings, k=settings.k,
                               temperature=settings.temperature)
    values = {f"top1_k{k}": (answers == labels).astype(np.float64) for k, answers in found.answers.items()}
    groups = [train.classes[label] for label in labels.tolist()]
    where = list(zip(base.shards, base.keys, strict=True)), list(zip(queries.shards, queries.keys, strict=True))
    return Measured(
        metrics={name: float(right.mean()) for name, right in values.items()},
        intervals={name: bootstrap_interval(right, labels) for name, right in values.items()},
        counts={"train": len(base.keys), "images": len(queries.keys), "classes": len(train.classes)},
        data_fingerprint=data_fingerprint([base, queries], [base_labels.tolist(), labels.tolist()]),
        images=[base, queries], items=items_table(queries.keys, groups, values),
        failures=_worst(found, train, base_labels, labels, where, subject.failures))


def _worst(found: Neighbours, train: ClassFolders, base_labels: Ints, labels: Ints,
           where: tuple[list[tuple[str, str]], list[tuple[str, str]]], count: int) -> list[Failure]:
    """Queries with the least similarity to come from their own class among the neighbours, by weight."""
    right = base_labels[found.places] == labels[:, None]
    share = (right * found.similarities).sum(axis=1) / np.abs(found.similarities).sum(axis=1)
    rows = np.argsort(share, kind="stable")[:count].tolist()
    return [Failure(where[1][row], train.classes[labels[row]], float(share[row]),
                    [(where[0][place], train.classes[base_labels[place]], float(score),
                      bool(base_labels[place] == labels[row]))
                     for place, score in zip(found.places[row, :NEIGHBOURS_SHOWN].tolist(),
                                             found.similarities[row, :NEIGHBOURS_SHOWN].tolist(), strict=True)])
            for row in rows]


PROTOCOL = EvaluationProtocol(
    name="knn", version=1, headline="top1_k10", settings=KnnSettings, measure=measure, prepare=prepare,
    score="share of its class in the neighbours' similarities",
    rule="Images that cannot be read are left out of both splits; accuracy is over those that could be read.",
    data="Any classification data, ImageNet (https://image-net.org, research only) in the paper. Layout: "
         "DIR/train/CLASS/PICTURE and DIR/val/CLASS/PICTURE (or test).")

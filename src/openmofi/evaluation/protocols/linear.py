"""The linear probe; see `openmofi.evaluation.metrics.linear` for what is fitted and how λ is found.

Splits: with DIR/val and DIR/test, λ is chosen on val and the test split is test. With one of them, that is the test
split, and a share of each training class, drawn by the seed, is the validation split. Few-shot: `shots` images of
each class are drawn for training and min(shots, 4) others for validation, as in CoOp (arXiv 2109.01134); the test split
stays whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta

from openmofi.config import NonNegativeInt, PositiveInt, Settings
from openmofi.errors import OpenMofiError
from openmofi.evaluation.data.folders import (
    TEST,
    TRAIN,
    VALIDATION,
    Ints,
    class_folders,
    lost_classes,
    required_split,
    same_classes,
    split_folder,
)
from openmofi.evaluation.embed import EmbeddedImages
from openmofi.evaluation.features import data_fingerprint
from openmofi.evaluation.metrics.bootstrap import bootstrap_interval
from openmofi.evaluation.metrics.linear import MAX_ITERATIONS, Probe, choose_l2, fit_probe
from openmofi.evaluation.metrics.ranking import Floats
from openmofi.evaluation.protocol import EvaluationProtocol, Failure, Measured, Subject
from openmofi.evaluation.result import items_table

CLASSES_SHOWN = 5
_SHOTS_OF_VALIDATION = 4


@dataclass(frozen=True)
class LinearSettings(Settings):
    """Settings of `linear`.

    Attributes:
        shots: training images of each class; 0: all.
        validation: share of each class that is taken for validation where there is no split for it.
        max_iterations: of L-BFGS.
        seed: of what is drawn.
    """

    shots: NonNegativeInt = 0
    validation: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    max_iterations: PositiveInt = MAX_ITERATIONS
    seed: NonNegativeInt = 0



@dataclass(frozen=True)
class Split:
    """Features and classes of a split."""

    features: Floats
    labels: Ints

    def take(self, rows: Ints) -> Split:
        """Some rows."""
        return Split(self.features[rows], self.labels[rows])

    def with_(self, other: Split) -> Split:
        """Both below one another."""
        return Split(np.concatenate([self.features, other.features]), np.concatenate([self.labels, other.labels]))


def measure(subject: Subject) -> Measured:
    """See this module's head."""
    settings: LinearSettings = subject.settings
    folders = required_split(subject.data, TRAIN)
    held = split_folder(subject.data, VALIDATION)
    final = split_folder(subject.data, TEST)
    tested = same_classes(folders, required_split(subject.data, TEST if final else VALIDATION))
    given = same_classes(folders, class_folders(held)) if held and final else None
    embedded = [subject.features.embed(one.sources()) for one in (folders, tested, given) if one is not None]
    train, test, *rest = (Split(images.embeddings, one.labels_of(images)) for images, one in
                          zip(embedded, (folders, tested, given), strict=False) if one is not None)
    whole = train
    lost_classes(folders.classes, whole.labels, str(folders.root))
    train, validation = split_train(train, rest[0] if rest else None, settings)
    sweep = choose_l2((train.features, train.labels), (validation.features, validation.labels), len(folders.classes),
                      max_iterations=settings.max_iterations)
    both = train.with_(validation)
    probe = fit_probe(both.features, both.labels, len(folders.classes), sweep.best,
                      max_iterations=settings.max_iterations)
    right = (probe.predict(test.features) == test.labels).astype(np.float64)
    of_class = [float(right[test.labels == one].mean()) for one in np.unique(test.labels)]
    groups = [folders.classes[label] for label in test.labels.tolist()]
    return Measured(
        metrics={"accuracy": float(right.mean()), "mean_class_accuracy": float(np.mean(of_class))},
        intervals={"accuracy": bootstrap_interval(right, test.labels)},
        counts={"train": len(train.labels), "validation": len(validation.labels), "images": len(test.labels),
                "classes": len(folders.classes)},
        data_fingerprint=data_fingerprint(embedded, [one.labels.tolist() for one in (whole, test, *rest)]),
        images=embedded, items=items_table(embedded[1].keys, groups, {"accuracy": right}),
        facts={"l2": sweep.best, "validation_accuracy": {f"{l2:.6g}": value for l2, value in sweep.tried.items()},
               "validation_split": "val" if given else "drawn from train", "converged": probe.converged},
        failures=_worst(probe, folders.classes, (embedded[0], whole), (embedded[1], test), subject.failures))


def _worst(probe: Probe, classes: Sequence[str], train: tuple[EmbeddedImages, Split],
           test: tuple[EmbeddedImages, Split], count: int) -> list[Failure]:
    """The test images of least probability of their class, and the likeliest classes, each with its nearest training
    image.
    """
    if not count:
        return []
    (known, base), (asked, queries) = train, test
    logits = probe.logits(queries.features).astype(np.float64)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    own = shares[np.arange(len(shares)), queries.labels]
    failures = []
    for row in np.argsort(own, kind="stable")[:count].tolist():
        answers: list[tuple[tuple[str, str] | None, str, float, bool]] = []
        for label in np.argsort(-shares[row], kind="stable")[:CLASSES_SHOWN].tolist():
            members = np.flatnonzero(base.labels == label)
            nearest = int(members[(base.features[members] @ queries.features[row]).argmax()])
            answers.append(((known.shards[nearest], known.keys[nearest]), classes[label], float(shares[row, label]),
                            label == int(queries.labels[row])))
        failures.append(Failure((asked.shards[row], asked.keys[row]), classes[queries.labels[row]], float(own[row]),
                                answers))
    return failures


def split_train(train: Split, given: Split | None, settings: LinearSettings) -> tuple[Split, Split]:
    """Training and validation images, as this module's head says.

    Raises:
        OpenMofiError: a class has too few images.
    """
    draw = np.random.default_rng(settings.seed)
    chosen: list[Ints] = []
    held: list[Ints] = []
    few = min(settings.shots, _SHOTS_OF_VALIDATION)
    for label in np.unique(train.labels):
        rows = draw.permutation(np.flatnonzero(train.labels == label))
        wanted = settings.shots or len(rows)
        kept = 0 if given is not None else few or max(1, round(settings.validation * len(rows)))
        least = wanted + kept if settings.shots else 1 + kept
        if len(rows) < least:
            raise OpenMofiError(f"A class has {len(rows)} training images, and {least} are needed for training and "
                                "validation.", "Use fewer shots, or add a val split.")
        held.append(rows[:kept])
        chosen.append(rows[kept : kept + wanted])
    train_rows = np.sort(np.concatenate(chosen)).astype(np.int64)
    if given is None:
        return train.take(train_rows), train.take(np.sort(np.concatenate(held)).astype(np.int64))
    return train.take(train_rows), given if not few else _few_of(given, few, draw)


def _few_of(split: Split, count: int, draw: np.random.Generator) -> Split:
    rows = [draw.permutation(np.flatnonzero(split.labels == label))[:count] for label in np.unique(split.labels)]
    return split.take(np.sort(np.concatenate(rows)).astype(np.int64))


PROTOCOL = EvaluationProtocol(
    name="linear", version=2, headline="accuracy", settings=LinearSettings, measure=measure,
    score="probability of its class",
    rule="Images that cannot be read are left out of all splits; accuracy is over those that could be read.",
    data="Any classification data. Layout: DIR/SPLIT/CLASS/PICTURE; train and val or test, or all three.")

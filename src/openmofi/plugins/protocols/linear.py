"""The linear probe; see `openmofi.plugins.protocols.linear_probe` for the loss and the choice of λ.

Splits: with DIR/val and DIR/test, λ is chosen on val, and test is the test split. With one of them, it is the test
split, and a share of each training class, drawn by the seed, is the validation split. Few-shot: `shots` images of
each class are drawn for training and min(shots, 4) others for validation, as in CoOp (arXiv 2109.01134); the test split
stays whole.

Data: Any classification data. Layout: DIR/SPLIT/CLASS/IMAGE; train and val or test, or all three.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta
from scipy.special import softmax

from openmofi.arrays import Ints
from openmofi.bootstrap import bootstrap_interval
from openmofi.config import NonNegativeInt, PositiveInt, Settings
from openmofi.errors import OpenMofiError
from openmofi.evaluation.protocol import (
    Answer,
    EvaluationProtocol,
    Failure,
    Measured,
    Subject,
    data_fingerprint,
)
from openmofi.evaluation.result import items_table
from openmofi.features.images import EmbeddedImages
from openmofi.plugins.protocols import class_names as folders
from openmofi.plugins.protocols.linear_probe import MAX_ITERATIONS, Probe, Split, tuned_probe

CLASSES_SHOWN = 5
_VALIDATION_SHOTS = 4


@dataclass(frozen=True)
class LinearSettings(Settings):
    """Settings of `linear`.

    Attributes:
        shots: training images per class; 0: all.
        validation: share of each class to draw for validation where the data has no validation split.
        max_iterations: of L-BFGS.
        seed: of the draws.
    """

    shots: NonNegativeInt = 0
    validation: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    max_iterations: PositiveInt = MAX_ITERATIONS
    seed: NonNegativeInt = 0


def measure(subject: Subject) -> Measured:
    """See the module."""
    settings: LinearSettings = subject.settings
    train_files = folders.required_split(subject.data, folders.TRAIN)
    validation_folder, test_folder = (
        folders.split_folder(subject.data, names) for names in (folders.VALIDATION, folders.TEST)
    )
    test_files = folders.required_split(subject.data, folders.TEST if test_folder else folders.VALIDATION)
    parts = [train_files, folders.same_classes(train_files, test_files)]
    if validation_folder and test_folder:
        parts.append(folders.same_classes(train_files, folders.class_folders(validation_folder)))
    embedded = [subject.features.embed(part.sources()) for part in parts]
    whole, test, *given = (
        Split(images.embeddings, part.labels_of(images)) for images, part in zip(embedded, parts, strict=True)
    )
    classes = train_files.classes
    folders.check_all_classes(classes, whole.labels, train_files.root)
    train, validation = split_train(whole, given[0] if given else None, settings)
    sweep, probe = tuned_probe(train, validation, len(classes), max_iterations=settings.max_iterations)
    correct = (probe.predict(test.features) == test.labels).astype(np.float64)
    of_class = [float(correct[test.labels == label].mean()) for label in np.unique(test.labels)]
    names = [classes[label] for label in test.labels.tolist()]
    return Measured(
        metrics={"accuracy": float(correct.mean()), "mean_class_accuracy": float(np.mean(of_class))},
        intervals={"accuracy": bootstrap_interval(correct, test.labels)},
        counts={
            "train": len(train.labels),
            "validation": len(validation.labels),
            "images": len(test.labels),
            "classes": len(classes),
        },
        data_fingerprint=data_fingerprint(embedded, [split.labels.tolist() for split in (whole, test, *given)]),
        images=embedded,
        items=items_table(embedded[1].keys, names, {"accuracy": correct}),
        facts={
            "l2": sweep.best,
            "validation_accuracy": {f"{l2:.6g}": value for l2, value in sweep.tried.items()},
            "validation_split": "val" if given else "drawn from train",
            "converged": probe.converged,
        },
        failures=_worst(probe, classes, (embedded[0], whole), (embedded[1], test), subject.failures),
    )


def _worst(
    probe: Probe,
    classes: Sequence[str],
    train: tuple[EmbeddedImages, Split],
    test: tuple[EmbeddedImages, Split],
    count: int,
) -> list[Failure]:
    """The test images whose class has the lowest probability; answers: the most probable classes, each with its
    nearest training image.
    """
    if not count:
        return []
    train_ids, test_ids, split, (features, labels) = train[0].ids, test[0].ids, train[1], test[1]
    shares = softmax(probe.logits(features).astype(np.float64), axis=1)
    true_shares = shares[np.arange(len(shares)), labels]
    failures = []
    for row in np.argsort(true_shares, kind="stable")[:count].tolist():
        answers = []
        for label in np.argsort(-shares[row], kind="stable")[:CLASSES_SHOWN].tolist():
            members = np.flatnonzero(split.labels == label)
            nearest = int(members[(split.features[members] @ features[row]).argmax()])
            answers.append(
                Answer(train_ids[nearest], classes[label], float(shares[row, label]), label == int(labels[row]))
            )
        failures.append(Failure(test_ids[row], classes[labels[row]], float(true_shares[row]), answers))
    return failures


def split_train(train: Split, given: Split | None, settings: LinearSettings) -> tuple[Split, Split]:
    """Training and validation images, see the module; `given`: the validation split of the data.

    Raises:
        OpenMofiError: a class has too few images.
    """
    generator = np.random.default_rng(settings.seed)
    train_rows: list[Ints] = []
    validation_rows: list[Ints] = []
    few = min(settings.shots, _VALIDATION_SHOTS)
    for label in np.unique(train.labels):
        rows = generator.permutation(np.flatnonzero(train.labels == label))
        shots = settings.shots or len(rows)
        held_out = 0 if given is not None else few or max(1, round(settings.validation * len(rows)))
        least = shots + held_out if settings.shots else 1 + held_out
        if len(rows) < least:
            raise OpenMofiError(
                f"A class has {len(rows)} training images; training and validation need {least}.",
                "Use fewer shots, or add a val split.",
            )
        validation_rows.append(rows[:held_out])
        train_rows.append(rows[held_out : held_out + shots])
    if given is None:
        return train.take(_sorted(train_rows)), train.take(_sorted(validation_rows))
    if few:
        given = given.take(
            _sorted(
                [
                    generator.permutation(np.flatnonzero(given.labels == label))[:few]
                    for label in np.unique(given.labels)
                ]
            )
        )
    return train.take(_sorted(train_rows)), given


def _sorted(rows: list[Ints]) -> Ints:
    return np.sort(np.concatenate(rows)).astype(np.int64)


PROTOCOL = EvaluationProtocol(
    name="linear",
    version=2,
    headline="accuracy",
    settings=LinearSettings,
    measure=measure,
    score="probability of its class",
    by_class=True,
    rule="Images that cannot be read are left out of all splits; accuracy is over those that could be read.",
)

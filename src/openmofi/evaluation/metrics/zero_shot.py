"""Zero-shot classification as CLIP has it: the class whose texts lie nearest is the answer (REFERENCE.md §4).

A class's embedding: each template is filled with its name, embedded and L2-normalised; the mean over the templates is
L2-normalised again (Radford et al. 2021, §3.1.4). The answer is the class of the greatest cosine; of equal cosines the
first class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmofi.encoders.arrays import normalised
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.metrics.bootstrap import RESAMPLES, Interval, bootstrap_interval
from openmofi.evaluation.metrics.ranking import BLOCK_BYTES, Floats, Index, Ints, checked_embeddings

_TEXTS_AT_ONCE = 4096


@dataclass(frozen=True)
class ZeroShotResult:
    """What `evaluate_zero_shot` found. Intervals: 95 %, bootstrap over the classes that have images.

    Attributes:
        accuracy, accuracy_top5: shares of all images whose class is the first, or among the first five.
        mean_class_accuracy: mean of `class_accuracy` over the classes that have images.
        pictures, classes: images, and classes to choose from.
        class_accuracy: (classes,); NaN for classes without an image.
        rank: (images,) the rank of the true class, from 1.
        class_of: (images,) the true class; the groups of a `paired_bootstrap` between two encoders.
    """

    accuracy: float
    accuracy_interval: Interval
    accuracy_top5: float
    accuracy_top5_interval: Interval
    mean_class_accuracy: float
    pictures: int
    classes: int
    class_accuracy: NDArray[np.float64]
    rank: Ints
    class_of: Ints

    @property
    def correct(self) -> NDArray[np.float64]:
        """(images,) 1 where the answer is right, else 0: the values of a `paired_bootstrap`."""
        return (self.rank == 1).astype(np.float64)

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain values for JSON, without what is known of single images and classes."""
        return {
            "accuracy": self.accuracy, "accuracy_interval": list(self.accuracy_interval),
            "accuracy_top5": self.accuracy_top5, "accuracy_top5_interval": list(self.accuracy_top5_interval),
            "mean_class_accuracy": self.mean_class_accuracy, "pictures": self.pictures, "classes": self.classes,
        }


def class_embeddings(names: Sequence[str], templates: Sequence[str],
                     embed_texts: Callable[[Sequence[str]], ArrayLike]) -> Floats:
    """The text embedding of each class, float32 (classes, d), L2-normalised.

    Args:
        names: one a class, put for `{}` or `{name}` in each template; braces in a name mean nothing.
        templates: e.g. `a photo of a {}.`
        embed_texts: texts → (n, d), e.g. `Encoder.embed_texts`; normalised here.

    Raises:
        UsageError: no templates, or one without a place for the name.
    """
    filled = [_filled(template) for template in templates]
    if not filled or not names:
        raise UsageError("Zero-shot classification needs at least one class name and one template.")
    step = max(1, _TEXTS_AT_ONCE // len(filled))
    parts = []
    for start in range(0, len(names), step):
        some = names[start : start + step]
        texts = [fill(name) for name in some for fill in filled]
        each = normalised(np.asarray(embed_texts(texts), np.float32)).reshape(len(some), len(filled), -1)
        parts.append(normalised(each.mean(axis=1, dtype=np.float32)))
    return np.concatenate(parts)


def _filled(template: str) -> Callable[[str], str]:
    try:
        used = template.format("\0", name="\0")
    except (IndexError, KeyError, ValueError) as error:
        raise UsageError(f"The template {template!r} cannot be filled ({error}).",
                         "Write {} or {name} where the class name goes.") from error
    if "\0" not in used:
        raise UsageError(f"The template {template!r} has no place for the class name.", "Write {} or {name} there.")
    return lambda name: template.format(name, name=name)


def evaluate_zero_shot(images: ArrayLike, labels: ArrayLike, classes: ArrayLike, *, resamples: int = RESAMPLES,
                       seed: int = 0, block_bytes: int = BLOCK_BYTES) -> ZeroShotResult:
    """Give each image the class of the nearest text embedding.

    Args:
        images: (n, d) L2-normalised.
        labels: (n,) integers: the true class, a row of `classes`.
        classes: (classes, d) L2-normalised, see `class_embeddings`.
        resamples, seed: of the bootstrap.
        block_bytes: memory of a block of scores.

    Raises:
        OpenMofiError: embeddings that are not normalised or not of one space, or labels that name no class.
    """
    vectors, texts = checked_embeddings(images, "image embeddings"), checked_embeddings(classes, "text embeddings")
    true = np.asarray(labels)
    if vectors.shape[1] != texts.shape[1]:
        raise OpenMofiError(f"Image embeddings of {vectors.shape[1]} numbers do not compare with text embeddings of "
                            f"{texts.shape[1]}.", "Embed both with one encoder.")
    if true.shape != (len(vectors),) or not np.issubdtype(true.dtype, np.integer):
        raise OpenMofiError(f"Labels of the shape {true.shape} and type {true.dtype} do not go with {len(vectors)} "
                            "pictures.", "Give one integer for each image: the row of its class.")
    true = true.astype(np.int64)
    if true.min() < 0 or true.max() >= len(texts):
        raise OpenMofiError(f"Labels run from {true.min()} to {true.max()}, and there are {len(texts)} classes.")
    rank = _ranks(vectors, true, texts, block_bytes)
    top1, top5 = rank <= 1, rank <= 5
    counts = np.bincount(true, minlength=len(texts))
    with np.errstate(invalid="ignore"):
        of_class = np.bincount(true, weights=top1, minlength=len(texts)) / counts
    return ZeroShotResult(
        accuracy=float(top1.mean()), accuracy_interval=bootstrap_interval(top1, true, resamples=resamples, seed=seed),
        accuracy_top5=float(top5.mean()),
        accuracy_top5_interval=bootstrap_interval(top5, true, resamples=resamples, seed=seed),
        mean_class_accuracy=float(np.nanmean(of_class)), pictures=len(vectors), classes=len(texts),
        class_accuracy=of_class, rank=rank, class_of=true)


def _ranks(images: Floats, true: Ints, classes: Floats, block_bytes: int) -> Ints:
    """(n,) rank of the true class from 1: greater scores are before it, and equal ones of earlier classes."""
    ranks = np.empty(len(images), np.int64)
    before = np.arange(len(classes))
    for start, scores in Index.of(classes).blocks(images, block_bytes):
        place = true[start : start + len(scores), None]
        own = np.take_along_axis(scores, place, axis=1)
        ranks[start : start + len(scores)] = 1 + ((scores > own) | ((scores == own) & (before < place))).sum(axis=1)
    return ranks

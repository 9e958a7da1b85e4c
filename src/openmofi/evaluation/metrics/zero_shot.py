"""Zero-shot classification as in CLIP: the answer is the class whose texts are nearest.

A class embedding: each template is filled with the class name, embedded and L2-normalised; the mean over the templates
is L2-normalised again (Radford et al. 2021, arXiv 2103.00020, §3.1.4). The answer is the class of the largest cosine;
of equal cosines the first class.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from openmofi.arrays import Doubles, Floats, Ints
from openmofi.bootstrap import RESAMPLES, Interval, bootstrap_interval
from openmofi.encoders.arrays import normalised
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.metrics.ranking import BLOCK_BYTES, CosineIndex, checked_embeddings, own_ranks
from openmofi.knowledge.texts import EVALUATION_TEMPLATES

_TEXTS_PER_BLOCK = 4096


@dataclass(frozen=True)
class ZeroShotResult:
    """The outcome of `evaluate_zero_shot`. Intervals: 95 %, bootstrap over the classes that have images.

    Attributes:
        accuracy, accuracy_top5: shares of all images whose class is the first, or among the first five.
        mean_class_accuracy: mean of `class_accuracy` over the classes that have images.
        images, classes: number of images, and of classes to choose from.
        class_accuracy: (classes,); NaN for classes without an image.
        rank: (images,) the rank of the true class, from 1.
        class_of: (images,) the true class; the groups for a `paired_bootstrap` of two encoders.
    """

    accuracy: float
    accuracy_interval: Interval
    accuracy_top5: float
    accuracy_top5_interval: Interval
    mean_class_accuracy: float
    images: int
    classes: int
    class_accuracy: Doubles
    rank: Ints
    class_of: Ints

    @property
    def correct(self) -> Doubles:
        """(images,) 1 where the answer is right, else 0: the values for a `paired_bootstrap`."""
        return (self.rank == 1).astype(np.float64)


def class_embeddings(
    names: Sequence[str], templates: Sequence[str], embed_texts: Callable[[Sequence[str]], ArrayLike]
) -> Floats:
    """The text embedding of each class, float32 (classes, d), L2-normalised.

    Args:
        names: (classes,); each replaces `{}` or `{name}` in the templates. Braces in a name have no meaning.
        templates: e.g. `a photo of a {}.`
        embed_texts: texts → (n, d), e.g. `Encoder.embed_texts`; the result is normalised here.

    Raises:
        UsageError: no names, no templates, or a template without a place for the name.
    """
    fillers = [_filler(template) for template in templates]
    if not fillers or not names:
        raise UsageError("Zero-shot classification needs at least one class name and one template.")
    step = max(1, _TEXTS_PER_BLOCK // len(fillers))
    parts = []
    for start in range(0, len(names), step):
        block = names[start : start + step]
        texts = [fill(name) for name in block for fill in fillers]
        embeddings = normalised(np.asarray(embed_texts(texts), np.float32)).reshape(len(block), len(fillers), -1)
        parts.append(normalised(embeddings.mean(axis=1, dtype=np.float32)))
    return np.concatenate(parts)


def entity_embeddings(entities: Sequence[tuple[str, str]], embed_texts: Callable[[Sequence[str]], ArrayLike]) -> Floats:
    """The text embedding of each entity, float32 (n, d), L2-normalised: the mean over `EVALUATION_TEMPLATES`.

    Args:
        entities: (n,) names and descriptions.
        embed_texts: see `class_embeddings`.
    """
    sides = [
        class_embeddings(
            [text.format(name=name, description=description) for name, description in entities], ["{}"], embed_texts
        )
        for text in EVALUATION_TEMPLATES
    ]
    return normalised(np.mean(sides, axis=0, dtype=np.float32))


def _filler(template: str) -> Callable[[str], str]:
    try:
        filled = template.format("\0", name="\0")
    except (IndexError, KeyError, ValueError) as error:
        raise UsageError(
            f"The template {template!r} cannot be filled ({error}).", "Write {} or {name} where the class name goes."
        ) from error
    if "\0" not in filled:
        raise UsageError(f"The template {template!r} has no place for the class name.", "Write {} or {name} there.")
    return lambda name: template.format(name, name=name)


def evaluate_zero_shot(
    images: ArrayLike,
    labels: ArrayLike,
    classes: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    block_bytes: int = BLOCK_BYTES,
) -> ZeroShotResult:
    """Classify each image by the nearest text embedding.

    Args:
        images: (n, d) L2-normalised.
        labels: (n,) integers: the true class, a row of `classes`.
        classes: (classes, d) L2-normalised, see `class_embeddings`.
        resamples, seed: see `bootstrap_interval`.
        block_bytes: memory of a block of scores.

    Raises:
        OpenMofiError: embeddings that are not normalised or differ in dimension, or labels outside the classes.
    """
    vectors, texts = checked_embeddings(images, "image embeddings"), checked_embeddings(classes, "text embeddings")
    true = np.asarray(labels)
    if vectors.shape[1] != texts.shape[1]:
        raise OpenMofiError(
            f"Image embeddings of dimension {vectors.shape[1]} do not compare with text embeddings "
            f"of dimension {texts.shape[1]}.",
            "Embed both with one encoder.",
        )
    if true.shape != (len(vectors),) or not np.issubdtype(true.dtype, np.integer):
        raise OpenMofiError(
            f"Labels of shape {true.shape} and type {true.dtype} do not fit {len(vectors)} images.",
            "Give one integer for each image: the row of its class.",
        )
    true = true.astype(np.int64)
    if true.min() < 0 or true.max() >= len(texts):
        raise OpenMofiError(f"Labels run from {true.min()} to {true.max()}, and there are {len(texts)} classes.")
    rank = np.concatenate(
        [
            own_ranks(scores, true[start : start + len(scores)])
            for start, scores in CosineIndex.of(texts).blocks(vectors, block_bytes)
        ]
    )
    top1, top5 = rank <= 1, rank <= 5
    counts = np.bincount(true, minlength=len(texts))
    with np.errstate(invalid="ignore"):
        class_accuracy = np.bincount(true, weights=top1, minlength=len(texts)) / counts
    return ZeroShotResult(
        accuracy=float(top1.mean()),
        accuracy_interval=bootstrap_interval(top1, true, resamples=resamples, seed=seed),
        accuracy_top5=float(top5.mean()),
        accuracy_top5_interval=bootstrap_interval(top5, true, resamples=resamples, seed=seed),
        mean_class_accuracy=float(np.nanmean(class_accuracy)),
        images=len(vectors),
        classes=len(texts),
        class_accuracy=class_accuracy,
        rank=rank,
        class_of=true,
    )

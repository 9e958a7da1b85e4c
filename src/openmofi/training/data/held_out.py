"""Rows that are held out of training: a function of the seed and of keys, so that resumed runs and all ranks agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmofi.arrays import Ints
from openmofi.errors import UsageError
from openmofi.evaluation.bands import thirds_of
from openmofi.knowledge.texts import filled
from openmofi.storage import hash64
from openmofi.training.data.rows import Rows, flat_lists, labels_of
from openmofi.training.recipe.schema import EvaluateSettings

_GALLERY = "gallery"


@dataclass(frozen=True)
class HeldOut:
    """Rows that evaluators see and that are never trained on.

    Attributes:
        rows: (n,) int64, ascending.
        labels: (n,) int64, the best-scored class of each; of the held-out classes, where classes are held out.
        gallery: (n,) bool, a random half: the labelled images of kNN, whose queries are the others.
        texts: for each template the texts of the classes that `labels` has, ascending: as training fills them.
        bands: (n,) int64 which of `evaluation.metrics.bands.BANDS` the class of each is, by the images of the dataset.
    """

    rows: Ints
    labels: Ints
    gallery: NDArray[np.bool_]
    texts: Sequence[Sequence[str]]
    bands: Ints


def hold_out(
    rows: Rows,
    settings: EvaluateSettings,
    class_ids: Sequence[str],
    counts: Ints,
    names: Sequence[str],
    templates: Sequence[str],
    seed: int,
) -> HeldOut:
    """Choose the rows that are held out: of all rows or classes those with the lowest draws.

    Args:
        rows: of the dataset.
        settings: share, limit, and whether rows or classes are drawn.
        class_ids: (classes,) entities.
        counts: (classes,) images of each class.
        names: (classes,) of the classes.
        templates: of their texts, see `HeldOut`; one with `{description}` is left out.
        seed: of the draws.

    Raises:
        UsageError: too few rows are held out for the evaluators, or all of them.
    """
    if settings.held_out_by == "row":
        keys = (key for shard in range(len(rows.starts) - 1) for key in rows.batch(shard)["key"].to_pylist())
        draws = draws_of(keys, seed)
        lowest = np.argsort(draws, kind="stable")[: settings.limit]
        chosen, eligible = np.sort(lowest[draws[lowest] < settings.held_out]), np.arange(len(class_ids))
    else:
        draws = draws_of(class_ids, seed)
        order = np.argsort(draws, kind="stable")
        eligible = _within(order[draws[order] < settings.held_out], counts, settings.limit)
        row, label, _ = labels_of(rows)
        chosen = np.unique(row[np.isin(label, eligible)])
    if len(chosen) in (0, rows.starts[-1]):
        raise UsageError(
            f"run.evaluate.held_out is {settings.held_out:g}, which holds out {len(chosen)} of {rows.starts[-1]} rows.",
            "Set another share, run.evaluate.held_out_by or limit.",
        )
    table = rows.take(chosen, ["key", "classes"])
    lengths, classes = flat_lists(table["classes"])
    kept = np.isin(classes, eligible)
    first = np.unique(np.repeat(np.arange(len(chosen)), lengths)[kept], return_index=True)[1]
    labels = classes[kept][first].astype(np.int64)
    gallery = draws_of(table["key"].to_pylist(), seed, _GALLERY) < 0.5
    if settings.retrieval and len(np.unique(labels)) == len(labels):
        raise UsageError(
            f"Of {len(chosen)} held-out rows no two have one class, so that retrieval has no positives.",
            "Set a greater run.evaluate.held_out, or run.evaluate.held_out_by: class.",
        )
    if settings.knn and (gallery.all() or gallery.sum() < settings.neighbours):
        raise UsageError(
            f"Of {len(chosen)} held-out rows {gallery.sum()} are kNN's labelled images, fewer than "
            f"run.evaluate.neighbours = {settings.neighbours}, or all.",
            "Set a greater run.evaluate.held_out, or fewer neighbours.",
        )
    usable = [template for template in templates if "{description}" not in template] or ["{name}"]
    texts = [[filled(template, names[label], "") for label in np.unique(labels)] for template in usable]
    return HeldOut(chosen, labels, gallery, texts, thirds_of(labels, counts))


def _within(classes: Ints, counts: Ints, limit: int) -> Ints:
    """Those of the classes, in their order, that have `limit` images together; one that is too large is passed over."""
    kept, images = [], 0
    for label, count in zip(classes.tolist(), counts[classes].tolist(), strict=True):
        if images + count <= limit:
            kept.append(label)
            images += count
    return np.array(kept, np.int64)


def draws_of(keys: Iterable[str], seed: int, purpose: str = "") -> NDArray[np.float64]:
    """A number of [0, 1) for each key, by its hash."""
    salt = f"{seed}/{purpose}/".encode()
    hashes = (hash64(salt + key.encode()) for key in keys)
    return np.fromiter(hashes, np.uint64) / 2.0**64

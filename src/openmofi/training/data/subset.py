"""Which rows are held out and which are trained on: found once for a dataset, mapped by all ranks and by restarts.

Of 100 million rows they are gigabytes, and take minutes to find. They are kept in `CACHE/subsets`, by the name of all
that decides them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.arrays import Bools, Ints
from openmofi.engine import Progress
from openmofi.errors import UsageError
from openmofi.evaluation.bands import thirds_of
from openmofi.knowledge.texts import filled
from openmofi.storage import digits64, fingerprint, hash64, locked, read_arrow, write_arrow
from openmofi.training.data.plan import ClassPlan, InstancePlan, Plan, RepeatPlan, TrainingPlan, members_of
from openmofi.training.data.rows import DatasetRows, flat_lists, labels_of
from openmofi.training.recipe import DataSettings, EvaluateSettings

Arrays = Mapping[str, Any]
_VERSION = 1
_GALLERY, _LIMIT = "gallery", "limit"


@dataclass(frozen=True)
class Subsets:
    """Keeps which rows of a dataset are held out and trained on.

    Attributes:
        rows: of the dataset.
        seed: of the draws.
        cache: a local folder.
        progress: is told where another process is at it.
    """

    rows: DatasetRows
    seed: int
    cache: Path
    progress: Progress

    def held_out(self, settings: EvaluateSettings, eligible: Ints) -> Ints:
        """(n,) int64 rows that are held out, ascending; where classes are drawn, all that have one of `eligible`."""
        seed, by_row = _seed(settings, self.seed), settings.held_out_by == "row"

        def found() -> Arrays:
            if by_row:
                return {"rows": _lowest(self.rows, seed, settings)}
            parts = [row[np.isin(label, eligible)] for row, label, _ in labels_of(self.rows)]
            return {"rows": np.unique(np.concatenate(parts))}

        decides = [settings.held_out_by, settings.held_out, settings.limit, seed, digits64(eligible.tobytes())]
        return np.array(_mapped(self._stored(found, decides))["rows"])

    def described(self, chosen: Ints, eligible: Ints, seed: int) -> tuple[Ints, Bools]:
        """(n,) int64 best-scored eligible class of each chosen row, and whether it is in the gallery; see `HeldOut`."""

        def found() -> Arrays:
            table = self.rows.take(chosen, ["key", "classes"])
            lengths, classes = flat_lists(table["classes"])
            is_eligible = np.isin(classes, eligible)
            first = np.unique(np.repeat(np.arange(len(chosen)), lengths)[is_eligible], return_index=True)[1]
            in_gallery = draws_of(table["key"].to_pylist(), seed, _GALLERY) < 0.5
            return {"labels": classes[is_eligible][first].astype(np.int64), "gallery": in_gallery.astype(np.int8)}

        arrays = _mapped(
            self._stored(found, [_GALLERY, *(digits64(each.tobytes()) for each in (chosen, eligible)), seed])
        )
        return np.array(arrays["labels"]), arrays["gallery"] == 1

    def plan(self, settings: DataSettings, counts: Ints, held_out: Ints) -> tuple[Plan, Ints, int]:
        """Plan the rows that are trained on.

        Args:
            settings: sampler, `limit` and `min_probability`.
            counts: (classes,) images of each class in the dataset.
            held_out: (n,) rows that are not trained on.

        Returns:
            The plan, (classes,) int64 their images of each class, and how many rows they are.

        Raises:
            UsageError: no row is left, or fewer than `limit`.
        """
        whole = not (len(held_out) or settings.limit or settings.min_probability)
        if whole and settings.sampler == "instance":
            plan = InstancePlan(self.rows.starts, settings.batch_size, settings.shuffle_shards, self.seed)
            return plan, counts, int(self.rows.starts[-1])
        decides = [settings.sampler, settings.limit, settings.min_probability, settings.repeat_threshold, self.seed]
        found = partial(_planned, self.rows, settings, len(counts), held_out, self.seed)
        path = self._stored(found, [*decides, digits64(held_out.tobytes())])
        arrays = _mapped(path)
        return StoredPlan(path, settings, self.seed), np.array(arrays["counts"]), int(arrays["trained"][0])

    def _stored(self, found: Callable[[], Arrays], decides: list[Any]) -> Path:
        """Return the file of some arrays; of several processes that find it missing one writes it."""
        path = self.cache / "subsets" / f"{fingerprint([_VERSION, self.rows.path.name, *decides])}.arrow"
        if not path.exists():
            with locked(path, lambda: self.progress.say("Another process draws the rows; this one waits.")):
                if not path.exists():
                    # A table of one row: each array is one list.
                    lists = {
                        name: pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), pa.array(values))
                        for name, values in found().items()
                    }
                    write_arrow(path, pa.table(lists))
        return path


def _mapped(path: Path) -> Arrays:
    table = read_arrow(path)
    lists = {name: table[name].chunk(0).values for name in table.column_names}
    return {name: values.to_numpy(zero_copy_only=len(values) > 0) for name, values in lists.items()}


@dataclass
class StoredPlan:
    """A `Plan` of arrays that each process maps; it pickles without them.

    Attributes:
        path: of the arrays, see `Subsets`.
        settings: of sampler and batches.
        seed: of the draws.
    """

    path: Path
    settings: DataSettings
    seed: int
    _opened: Plan | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "settings": self.settings, "seed": self.seed, "_opened": None}

    def rows(self, step: int) -> Ints:
        """See `Plan`."""
        if self._opened is None:
            self._opened = self._open(_mapped(self.path), self.settings.sampler, self.settings.batch_size)
        return self._opened.rows(step)

    def _open(self, arrays: Arrays, sampler: str, size: int) -> Plan:
        if sampler == "instance":
            inner = InstancePlan(arrays["starts"], size, self.settings.shuffle_shards, self.seed)
            return TrainingPlan(inner, arrays["gaps"])
        if sampler == "repeat-factor":
            return RepeatPlan(arrays["edges"], arrays["numbers"], size, self.seed)
        power = 0.0 if sampler == "class-balanced" else 0.5
        return ClassPlan(arrays["offsets"], arrays["members"], size, power, self.seed)


def _planned(rows: DatasetRows, settings: DataSettings, classes: int, held_out: Ints, seed: int) -> Arrays:
    """The arrays of `StoredPlan`, with `counts` of the classes' images and `trained`, the number of rows."""
    trained = _trained(rows, settings, held_out, seed)
    counts, total = np.zeros(classes, np.int64), int(trained.sum())
    for _, label in _kept(rows, trained, settings.min_probability):
        np.add.at(counts, label, 1)
    labels = _kept(rows, trained, settings.min_probability)
    arrays: dict[str, Any] = {"counts": counts, "trained": np.array([total])}
    if settings.sampler == "instance":
        left_out = np.flatnonzero(~trained)
        starts = rows.starts - np.searchsorted(left_out, rows.starts)
        return arrays | {"starts": starts, "gaps": left_out - np.arange(len(left_out))}
    if settings.sampler == "repeat-factor":
        plan = RepeatPlan.of(labels, counts, total, settings.repeat_threshold, settings.batch_size, seed)
        return arrays | {"edges": plan.edges, "numbers": plan.numbers}
    offsets, members = members_of(labels, counts)
    return arrays | {"offsets": offsets, "members": members}


def _trained(rows: DatasetRows, settings: DataSettings, held_out: Ints, seed: int) -> Bools:
    """(rows,) whether each is trained on; with a `limit` those are whose keys have the lowest draws."""
    trained, greatest = np.zeros(int(rows.starts[-1]), bool), 0.0
    for row, _, probability in labels_of(rows):
        trained[row[probability >= np.float32(settings.min_probability)]] = True
        greatest = max(greatest, float(probability.max(initial=0)))
    trained[held_out] = False
    chosen = np.flatnonzero(trained)
    if not len(chosen):
        raise UsageError(
            f"data.min_probability is {settings.min_probability:g}, which leaves no row to train on.",
            f"The greatest probability of a label is {greatest:.3f}.",
        )
    if settings.limit > len(chosen):
        raise UsageError(
            f"data.limit is {settings.limit:,}, and there are {len(chosen):,} rows to train on.",
            "Set a lower one, or 0 for all.",
        )
    if settings.limit:
        draws = np.concatenate([part[trained[start : start + len(part)]] for start, part in _draws(rows, seed, _LIMIT)])
        trained[np.delete(chosen, np.argsort(draws, kind="stable")[: settings.limit])] = False
    return trained


def _kept(rows: DatasetRows, trained: Bools, min_probability: float) -> Iterator[tuple[Ints, Ints]]:
    """The labels of each shard that count: row, ascending, and class."""
    for row, label, probability in labels_of(rows):
        counts = trained[row] & (probability >= np.float32(min_probability))
        yield row[counts], label[counts]


def _draws(rows: DatasetRows, seed: int, purpose: str = "") -> Iterator[tuple[int, NDArray[np.float64]]]:
    """The first row of each shard, and the draws of its rows."""
    for shard, start in enumerate(rows.starts[:-1].tolist()):
        yield start, draws_of(rows.batch(shard)["key"].to_pylist(), seed, purpose)


def _lowest(rows: DatasetRows, seed: int, settings: EvaluateSettings) -> Ints:
    """The rows of the lowest draws below the share that is held out, ascending."""
    numbers, draws = [], []
    for start, part in _draws(rows, seed):
        below = np.flatnonzero(part < settings.held_out)
        numbers.append(start + below)
        draws.append(part[below])
    lowest = np.argsort(np.concatenate(draws), kind="stable")[: settings.limit]
    return np.sort(np.concatenate(numbers)[lowest])


def _seed(settings: EvaluateSettings, seed: int) -> int:
    return seed if settings.seed is None else settings.seed


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
    subsets: Subsets,
    settings: EvaluateSettings,
    class_ids: Sequence[str],
    counts: Ints,
    names: Sequence[str],
    templates: Sequence[str],
) -> HeldOut:
    """Choose the rows that are held out: of all rows or classes those with the lowest draws.

    Args:
        subsets: of the dataset.
        settings: share, limit, and whether rows or classes are drawn.
        class_ids: (classes,) entities.
        counts: (classes,) images of each class.
        names: (classes,) of the classes.
        templates: of their texts, see `HeldOut`; one with `{description}` is left out.

    Raises:
        UsageError: too few rows are held out for the evaluators, or all of them.
    """
    rows, seed, eligible = subsets.rows, _seed(settings, subsets.seed), np.arange(len(class_ids))
    if settings.held_out_by == "class":
        draws = draws_of(class_ids, seed)
        order = np.argsort(draws, kind="stable")
        eligible = _within(order[draws[order] < settings.held_out], counts, settings.limit)
    chosen = subsets.held_out(settings, eligible)
    if len(chosen) in (0, rows.starts[-1]):
        raise UsageError(
            f"run.evaluate.held_out is {settings.held_out:g}, which holds out {len(chosen)} of {rows.starts[-1]} rows.",
            "Set another share, such as --set run.evaluate.held_out=0.3, or run.evaluate.held_out_by or limit.",
        )
    labels, gallery = subsets.described(chosen, eligible, seed)
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
    selected, images = [], 0
    for label, count in zip(classes.tolist(), counts[classes].tolist(), strict=True):
        if images + count <= limit:
            selected.append(label)
            images += count
    return np.array(selected, np.int64)


def draws_of(keys: Iterable[str], seed: int, purpose: str = "") -> NDArray[np.float64]:
    """A number of [0, 1) for each key, by its hash."""
    salt = f"{seed}/{purpose}/".encode()
    hashes = (hash64(salt + key.encode()) for key in keys)
    return np.fromiter(hashes, np.uint64) / 2.0**64

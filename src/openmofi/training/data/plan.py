"""Which rows a step takes, by the seed and the step alone; which others stand for images that cannot be decoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from openmofi.arrays import Doubles, Ints
from openmofi.errors import OpenMofiError
from openmofi.storage import write_text

_SHARDS, _ROWS, _CLASSES = 1, 2, 3  # apart, so that no two draws of a seed share their random numbers
_WINDOWS_KEPT = 4


class Plan(Protocol):
    """Says which rows of the dataset the global batch of a step holds."""

    def rows(self, step: int) -> Ints:
        """(batch_size,) int64 rows of the global batch of `step`."""


@dataclass
class InstancePlan:
    """Every row once an epoch; the batches run on over the ends of epochs.

    In each epoch the shards are drawn in another order and cut into windows of `window` shards, within which the rows
    are shuffled: only the windows in use are in memory, and reading stays near one place.

    Attributes:
        starts: (shards + 1,) first row of each shard, and the number of rows.
        batch_size: rows of a global batch.
        window: shards of a window.
        seed: of the order.
    """

    starts: Ints
    batch_size: int
    window: int
    seed: int
    _kept: dict[tuple[int, int], Ints] = field(default_factory=dict)
    _orders: dict[int, tuple[Ints, Ints]] = field(default_factory=dict)

    def rows(self, step: int) -> Ints:
        """See `Plan`."""
        return self.at(step * self.batch_size, (step + 1) * self.batch_size)

    def at(self, first: int, last: int) -> Ints:
        """The rows at the positions `first` to `last` (exclusive) of the endless sequence of epochs."""
        total, parts = int(self.starts[-1]), []
        while first < last:
            epoch, position = divmod(first, total)
            order, bounds = self._order(epoch)
            number = int(np.searchsorted(bounds, position, side="right")) - 1
            stop = min(last - first, int(bounds[number + 1]) - position)
            offset = position - int(bounds[number])
            parts.append(self._window(epoch, number, order)[offset : offset + stop])
            first += stop
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def _order(self, epoch: int) -> tuple[Ints, Ints]:
        """The epoch's order of shards, and the positions within the epoch at which its windows start and end."""
        if epoch not in self._orders:
            order = np.random.default_rng([self.seed, _SHARDS, epoch]).permutation(len(self.starts) - 1)
            ends = np.cumsum(np.diff(self.starts)[order])
            last = np.r_[np.arange(self.window - 1, len(order) - 1, self.window), len(order) - 1]
            self._orders[epoch] = order.astype(np.int64), np.r_[0, ends[last]].astype(np.int64)
            _forget(self._orders)
        return self._orders[epoch]

    def _window(self, epoch: int, number: int, order: Ints) -> Ints:
        if (epoch, number) not in self._kept:
            shards = order[number * self.window : (number + 1) * self.window]
            rows = np.concatenate([np.arange(self.starts[s], self.starts[s + 1]) for s in shards])
            self._kept[epoch, number] = np.random.default_rng([self.seed, _ROWS, epoch, number]).permutation(rows)
            _forget(self._kept)
        return self._kept[epoch, number]


def _forget(cache: dict[Any, Any]) -> None:
    if len(cache) > _WINDOWS_KEPT:
        del cache[next(iter(cache))]


@dataclass(frozen=True)
class ClassPlan:
    """Classes are drawn with p ∝ count^power, then a row of the class uniformly, both with replacement.

    Power 0 is class-balanced sampling, 1/2 square-root sampling (Mahajan et al., arXiv 1805.00932, §2.2).

    Attributes:
        offsets, members: rows of class c are `members[offsets[c]:offsets[c + 1]]`.
        batch_size: rows of a global batch.
        power: see above.
        seed: of the draws.
    """

    offsets: Ints
    members: Ints
    batch_size: int
    power: float
    seed: int

    def rows(self, step: int) -> Ints:
        """See `Plan`."""
        draw = np.random.default_rng([self.seed, _CLASSES, step])
        counts = np.diff(self.offsets)
        weights = np.where(counts > 0, counts.astype(np.float64) ** self.power, 0.0)
        edges = np.cumsum(weights)
        chosen = np.searchsorted(edges, draw.random(self.batch_size) * edges[-1], side="right")
        # Rounding may carry a draw beyond the last class that has rows.
        chosen = np.minimum(chosen, np.flatnonzero(counts)[-1])
        within = (draw.random(self.batch_size) * counts[chosen]).astype(np.int64)
        return self.members[self.offsets[chosen] + np.minimum(within, counts[chosen] - 1)]


@dataclass(frozen=True)
class RepeatPlan:
    """Rows are drawn with replacement, p ∝ the greatest repeat factor of their classes.

    A class of a share f of the rows has the factor max(1, √(t / f)): what is rarer than t is seen more often, all else
    as it occurs (Gupta et al., LVIS, arXiv 1908.03195, appendix B.2).

    Attributes:
        edges: (rows,) cumulative factors, of the rows that are trained on.
        numbers: (rows,) these rows.
        batch_size: rows of a global batch.
        seed: of the draws.
    """

    edges: Doubles
    numbers: Ints
    batch_size: int
    seed: int

    @classmethod
    def of(
        cls, labels: Iterable[Labels], counts: Ints, rows: int, threshold: float, batch_size: int, seed: int
    ) -> RepeatPlan:
        """Make the plan.

        Args:
            labels: in parts; rows ascend, and no row is in two parts.
            counts: (classes,) images of each class.
            rows: how many rows the labels have.
            threshold: see above.
            batch_size, seed: see above.
        """
        factors = repeat_factors(counts, rows, threshold)
        numbers, greatest = [], []
        for row, label in labels:
            distinct, first = np.unique(row, return_index=True)
            numbers.append(distinct)
            # Of no labels numpy has no greatest.
            greatest.append(np.maximum.reduceat(factors[label], first) if len(first) else np.zeros(0))
        return cls(np.cumsum(np.concatenate(greatest)), np.concatenate(numbers), batch_size, seed)

    def rows(self, step: int) -> Ints:
        """See `Plan`."""
        draw = np.random.default_rng([self.seed, _CLASSES, step]).random(self.batch_size)
        positions = np.searchsorted(self.edges, draw * self.edges[-1], side="right")
        return self.numbers[np.minimum(positions, len(self.numbers) - 1)]


def repeat_factors(counts: Ints, rows: int, threshold: float) -> Doubles:
    """(classes,) max(1, √(threshold / share of the rows)); 1 for classes without images."""
    share = np.maximum(counts, 1) / max(rows, 1)
    return np.where(counts > 0, np.maximum(1.0, np.sqrt(threshold / share)), 1.0)


@dataclass(frozen=True)
class TrainingPlan:
    """A plan over the rows that are left when some are left out, such as those that are held out.

    Attributes:
        plan: over the positions 0 … n − 1 of the n rows that are left.
        gaps: (m,) how many rows are left before each row that is left out, ascending.
    """

    plan: Plan
    gaps: Ints

    def rows(self, step: int) -> Ints:
        """See `Plan`."""
        positions = self.plan.rows(step)
        return positions + np.searchsorted(self.gaps, positions, side="right")


@dataclass(frozen=True)
class SequencePlan:
    """Rows in their order; the last batch is filled up with the first rows.

    Attributes:
        sequence: (n,) rows.
        batch_size: rows of a global batch.
    """

    sequence: Ints
    batch_size: int

    @property
    def steps(self) -> int:
        """Batches that hold all rows."""
        return -(-len(self.sequence) // self.batch_size)

    def rows(self, step: int) -> Ints:
        """See `Plan`."""
        return self.sequence[np.arange(step * self.batch_size, (step + 1) * self.batch_size) % len(self.sequence)]


def members_of_classes(rows: Ints, classes: Ints, count: int) -> tuple[Ints, Ints]:
    """Pairs of row and class → `offsets` (count + 1,) and `members` of `ClassPlan`."""
    return members_of([(rows, classes)], np.bincount(classes, minlength=count))


Labels = tuple[Ints, Ints]
"""The row and the class of each label, (n,)."""


def members_of(labels: Iterable[Labels], counts: Ints) -> tuple[Ints, Ints]:
    """Labels in parts, and (classes,) how many each class has → `offsets` and `members` of `ClassPlan`."""
    offsets = np.r_[0, np.cumsum(counts)].astype(np.int64)
    members, ends = np.empty(offsets[-1], np.int64), offsets[:-1].copy()
    for row, label in labels:
        order = np.argsort(label, kind="stable")
        present, first, sizes = np.unique(label[order], return_index=True, return_counts=True)
        members[np.repeat(ends[present] - first, sizes) + np.arange(len(order))] = row[order]
        ends[present] += sizes
    return offsets, members


Refused = list[tuple[int, str]]
"""Rows whose images could not be decoded, and why; a row once for each time that it was drawn."""

_OTHERS = 7  # sets these random numbers apart from those of plans, texts, images and teachers
_TRIES = 100
_AT_LEAST = 1000
UNDECODABLE = "undecodable.jsonl"
GREY = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c636868680000030401814bd3d2100000000049454e44ae426082"
)
"""A PNG of one grey pixel, which stands for a held-out image."""


def other_row(plan: Plan, seed: int, step: int, position: int, refused: dict[int, str], steps: int) -> int:
    """The row that stands for one that cannot be decoded, by the seed, step and position alone.

    Args:
        plan: of the rows.
        seed: of the run.
        step, position: of the global batch.
        refused: rows that are known to be no use.
        steps: of an epoch, among whose batches it is drawn.

    Raises:
        OpenMofiError: none is found in a hundred tries.
    """
    draw = np.random.default_rng([seed, _OTHERS, step, position])
    for _ in range(_TRIES):
        row = int(draw.choice(plan.rows(int(draw.integers(steps)))))
        if row not in refused:
            return row
    raise OpenMofiError(
        f"{len(refused):,} images of the dataset can no longer be decoded; no other row is found to train on.",
        "Put the old shards back, or label them and build the dataset again.",
    )


@dataclass
class Faults:
    """Counts images that cannot be decoded.

    Attributes:
        limit: greatest share of the images, of 1,000 at least.
        named: rows → what messages call their images.
        seen, replaced: images of batches, and those for which others stand.
        why: row → what is wrong with its image.
    """

    limit: float
    named: Callable[[Sequence[int]], list[str]]
    seen: int = 0
    replaced: int = 0
    why: dict[int, str] = field(default_factory=dict)

    def note(self, images: int, refused: Refused) -> None:
        """Count a batch.

        Raises:
            OpenMofiError: more than the limit could not be decoded.
        """
        self.seen += images
        self.replaced += len(refused)
        self.why.update(refused)
        if refused and self.replaced > self.limit * max(self.seen, _AT_LEAST):
            row, why = refused[-1]
            raise OpenMofiError(
                f"The image {self.named([row])[0]} cannot be decoded: {why}. {self.replaced:,} of {self.seen:,} images "
                f"cannot, more than data.undecodable = {self.limit:g} allows.",
                "They could be when they were labelled: put the old shards back, label them and build the dataset "
                "again, or set a greater data.undecodable.",
            )

    def note_held_out(self, images: int, refused: Refused) -> None:
        """Remember what cannot be decoded of a held-out batch, which ends no run."""
        self.why.update(refused)

    def write(self, out: Path, rank: int) -> int:
        """Write the images to `undecodable.jsonl` in `out` (`undecodable-RANK.jsonl` of other ranks); how many."""
        if self.why:
            rows = sorted(self.why)
            lines = [
                json.dumps({"row": row, "image": name, "why": self.why[row]}, ensure_ascii=False)
                for row, name in zip(rows, self.named(rows), strict=True)
            ]
            name = UNDECODABLE if not rank else UNDECODABLE.replace(".", f"-{rank}.", 1)
            write_text(out / name, "".join(f"{line}\n" for line in lines))
        return len(self.why)


def replaced(chosen: Ints, refused: dict[int, str], other: Callable[[int], int]) -> tuple[Ints, Refused]:
    """(n,) rows with others in the place of those that are refused, by position; and the rows that were."""
    result, refusals = chosen.copy(), []
    for position in np.flatnonzero(np.isin(chosen, list(refused))).tolist():
        row = int(chosen[position])
        refusals.append((row, refused[row]))
        result[position] = other(position)
    return result, refusals

"""Which labels a person looks at: drawn by strata, seeded; in random order, so that half a look is fair, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openmofi.dataset.review.cells import Candidate, Cell, Content, Kinds, cells, joined, range_name
from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError, UsageError
from openmofi.labeling.verdicts.file import Stratum

BY = ("probability", "type")
_BELOW = 5
"""One label in five is a candidate below the threshold."""

_LEAST = 2
_SPREAD = 0.02
"""Least variance that a stratum counts with: a calibration that is too sure would leave its surest labels unseen."""


@dataclass(frozen=True)
class Drawn:
    """A label to look at and the position of its stratum."""

    candidate: Candidate
    stratum: int


@dataclass(frozen=True)
class Sample:
    """What was drawn.

    Attributes:
        strata: what from.
        drawn: in random order.
        accepted: how many of them are accepted labels; the others are below the threshold.
    """

    strata: tuple[Stratum, ...]
    drawn: tuple[Drawn, ...]
    accepted: int


def draw(folder: Folder, kinds: Kinds, size: int, by: Sequence[str], seed: int) -> Sample:
    """Draw labels; all of them where there are not more than `size`.

    Four fifths are accepted labels and one fifth candidates below the threshold, where there are such. A stratum gets
    places by its labels times the standard deviation that its probabilities expect (Neyman, 1934), and two, or
    one, at least, where there are enough.

    Args:
        folder: of labels.
        kinds: types of entities.
        size: how many.
        by: of `BY`.
        seed: equal ones draw equally.

    Raises:
        UsageError: `size` is not positive, or `by` has another value.
        OpenMofiError: no label is accepted.
    """
    if size < 1:
        raise UsageError(f"A sample of {size} is none.", "Give --sample 200, say.")
    if odd := [part for part in by if part not in BY]:
        raise UsageError(f"Unknown strata {odd[0]!r}.", f"Use {','.join(BY)}, or one of them.")
    found = cells(folder, kinds, draws=size, seed=seed)
    if not any(accepted for accepted, _, _ in found):
        raise OpenMofiError(
            f"{folder.path} has no accepted label to look at.",
            "Label with a lower --threshold or --target-precision first.",
        )

    def name(cell: Cell) -> Cell:
        # Few are drawn below the threshold, so that types would leave strata without any.
        return cell[0], cell[1] if "probability" in by else -1, cell[2] if "type" in by and cell[0] else ""

    parts = joined(found, name, size)
    below, above = (
        {cell: content for cell, content in parts.items() if cell[0] is accepted} for accepted in (False, True)
    )
    few = min(size // _BELOW, sum(content.labels for content in below.values()))
    places = allocated(above, size - few) | allocated(below, few)
    # Places that the accepted labels cannot fill go to the others.
    left = size - sum(places.values())
    places |= allocated(below, few + left) if left else {}
    drawn = [
        Drawn(candidate, position)
        for position, (cell, content) in enumerate(parts.items())
        for _, candidate in content.draws[: places[cell]]
    ]
    order = np.random.default_rng(seed).permutation(len(drawn))
    return Sample(
        tuple(Stratum(_name(cell), cell[0], content.labels) for cell, content in parts.items()),
        tuple(drawn[position] for position in order),
        sum(places[cell] for cell in above),
    )


def allocated(parts: Mapping[Cell, Content], size: int) -> dict[Cell, int]:
    """How many of `size` places each stratum gets; none gets more than it has labels."""
    labels = np.array([content.labels for content in parts.values()], np.int64)
    mean = np.array([content.expected for content in parts.values()]) / np.maximum(labels, 1)
    wish = labels * np.sqrt(np.maximum(mean * (1 - mean), _SPREAD))
    places = np.minimum(labels, min(_LEAST, size // max(1, len(labels))))
    for _ in range(min(size, int(labels.sum())) - int(places.sum())):
        # The place goes where the wish is least fulfilled.
        need = np.where(places < labels, wish / (places + 1), -1.0)
        places[np.argmax(need)] += 1
    return dict(zip(parts, places.tolist(), strict=True))


def _name(cell: Cell) -> str:
    accepted, position, kind = cell
    words = [
        "accepted" if accepted else "below the threshold",
        *([range_name(position)] if position >= 0 else []),
        *([kind] if kind else []),
    ]
    return ", ".join(words)

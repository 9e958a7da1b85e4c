"""Images that could be decoded when they were labelled and no longer can: counted, replaced, and too many end a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from openmofi.arrays import Ints
from openmofi.errors import OpenMofiError
from openmofi.storage import write_text
from openmofi.training.data.plan import Plan

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
    result, found = chosen.copy(), []
    for position in np.flatnonzero(np.isin(chosen, list(refused))).tolist():
        row = int(chosen[position])
        found.append((row, refused[row]))
        result[position] = other(position)
    return result, found

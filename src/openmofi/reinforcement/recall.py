"""Reads what teachers know of a dataset: memory-mapped, by shard and key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.reinforcement.augmentation import Augmentation
from openmofi.reinforcement.teachers import Teacher

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Recalled:
    """What the store knows of n samples, in the order in which they were asked for.

    Attributes:
        known: (n,) whether the store has the sample with the status `ok`; all else is zeros where it has not.
        widths, heights: (n,) int64 of the upright image at full size, in pixels.
        hashes: (n,) uint64, see `image_hash`.
        augmentations: (n,) the chosen ones; `None` where unknown.
        captions: (n,) the chosen synthetic texts; `""` where unknown, or where the store has none.
        image: by teacher's name, (n, dim) float32, L2-normalised: embeddings of the chosen augmentations.
        text: likewise, of the pairs' own texts.
        caption: likewise, of the chosen synthetic texts; zeros where the store has none.
    """

    known: NDArray[np.bool_]
    widths: Ints
    heights: Ints
    hashes: NDArray[np.uint64]
    augmentations: list[Augmentation | None]
    captions: list[str]
    image: dict[str, Floats]
    text: dict[str, Floats]
    caption: dict[str, Floats]


class Knowledge:
    """What teachers know of a dataset; read-only. It pickles as its path, and each process maps the same pages.

    Attributes:
        path: the store's folder.
        teachers: see `Teacher`.
        augmentations: augmentations a sample.
        captions: synthetic texts a sample.
        size, interpolation: height and width of the augmentations as the teachers saw them, and their filter: a
            student that replays them with these sees the same pixels.
        fingerprint: names the content: settings, inputs, teachers.
    """

    path: Path
    teachers: tuple[Teacher, ...]
    augmentations: int
    captions: int
    size: int
    interpolation: str
    fingerprint: str

    @classmethod
    def open(cls, path: str | Path) -> Knowledge:
        """Open a finished store.

        Raises:
            OpenMofiError: it is none, it is unfinished, or of another `TRANSFORM_VERSION`.
        """
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return (Knowledge.open, (self.path,))

    def take(self, shards: Sequence[str], keys: Sequence[str], augmentation: Ints, caption: Ints) -> Recalled:
        """What the store knows of samples.

        Args:
            shards: (n,) names of their shards.
            keys: (n,) their keys in these.
            augmentation: (n,) which augmentation of each, 0 ≤ … < `augmentations`.
            caption: (n,) which synthetic text of each, 0 ≤ … < `captions`; not looked at where there are none.

        Raises:
            IndexError: a number beyond these.
            OpenMofiError: a shard's file is damaged.
        """
        raise NotImplementedError

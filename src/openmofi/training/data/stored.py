"""Features that are computed once: parts that appear whole, then one memory-mapped array."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.storage import atomic_path, locked, read_json, write_json

Halves = NDArray[np.float16]
Part = tuple[NDArray[Any], Mapping[int, str]]
"""Rows (size, dim), and those of them that hold the features of something else, and why: row → reason."""

_GREATEST = float(np.finfo(np.float16).max)
_REFUSED = ".undecodable.json"


@dataclass
class StoredArray:
    """A float16 array on disk, mapped by each process that reads it; it pickles as its path.

    Attributes:
        path: of the array.
        refused: rows that hold the features of something else, and why.
    """

    path: Path
    refused: dict[int, str] = field(default_factory=dict)
    _mapped: Halves | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "refused": self.refused, "_mapped": None}

    @property
    def values(self) -> Halves:
        """The whole array, mapped and not read."""
        if self._mapped is None:
            self._mapped = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return self._mapped

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """(n,) rows → (n, dim) float32."""
        # torch widens halves many times faster than numpy.
        return torch.from_numpy(np.asarray(self.values[rows])).float()


def stored_features(
    path: Path, sizes: Sequence[int], dim: int, part: Callable[[int], Part], stage: str, progress: Progress
) -> StoredArray:
    """The array (sum of sizes, dim) float16 at `path`; computed part by part where it is missing.

    A part is kept as soon as it is computed: a run that was killed resumes after the last one and ends in the same
    bytes. Of several runs that need the same array one computes it, and the others wait. Which rows are refused lies
    beside it, and a part with such rows is computed again by a run that resumes: what was broken may be whole by then.

    Args:
        path: a local `.npy`; its parts lie in the folder of the same name until it is whole.
        sizes: rows of each part.
        dim: columns.
        part: number of a part → its rows, see `Part`.
        stage: name of the work, for the progress.
        progress: counts the parts.

    Raises:
        OpenMofiError: a feature is not finite, or too large for float16.
    """
    if not path.exists():
        with locked(path, lambda: progress.say(f"{stage}: another run is at it; this one waits")):
            if not path.exists():
                _compute(path, sizes, dim, part, stage, progress)
    return StoredArray(path, _refused(path))


def _compute(
    path: Path, sizes: Sequence[int], dim: int, part: Callable[[int], Part], stage: str, progress: Progress
) -> None:
    parts = path.with_suffix(".parts")
    progress.begin(stage, len(sizes))
    for number, size in enumerate(sizes):
        part_path = parts / f"{number:06d}.npy"
        if not part_path.exists() or _refused(part_path):
            values, refused = part(number)
            with np.errstate(over="ignore"):
                rows = values.astype(np.float16)
            if not np.isfinite(rows).all():
                row = int(np.argmin(np.isfinite(rows).all(1)))
                raise OpenMofiError(
                    f"{stage}: the encoder's features of row {row} of part {number} are not finite, or "
                    f"beyond {_GREATEST:,.0f}.",
                    "Use another encoder, or train on live images.",
                )
            _write_refused(part_path, refused)
            with atomic_path(part_path) as temporary, open(temporary, "wb") as handle:
                np.save(handle, rows, allow_pickle=False)
        progress.advance({"rows": size})
    starts = np.cumsum([0, *sizes]).tolist()
    _write_refused(
        path,
        {
            start + row: why
            for number, start in enumerate(starts[:-1])
            for row, why in _refused(parts / f"{number:06d}.npy").items()
        },
    )
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.lib.format.write_array_header_2_0(
            handle, {"descr": "<f2", "fortran_order": False, "shape": (int(sum(sizes)), dim)}
        )
        for number in range(len(sizes)):
            rows = np.load(parts / f"{number:06d}.npy", allow_pickle=False)
            handle.write(np.ascontiguousarray(rows, "<f2").data)
    shutil.rmtree(parts, ignore_errors=True)


def _refused(path: Path) -> dict[int, str]:
    return read_json(
        path.with_suffix(_REFUSED), dict[int, str], "Remove the features; they are made again.", missing={}
    )


def _write_refused(path: Path, refused: Mapping[int, str]) -> None:
    """Before the array itself, whose presence says that all is there."""
    beside = path.with_suffix(_REFUSED)
    if refused:
        write_json(beside, {str(row): why for row, why in refused.items()})
    else:
        beside.unlink(missing_ok=True)

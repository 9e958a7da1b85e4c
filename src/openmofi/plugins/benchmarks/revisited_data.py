"""The ground truth of Revisited Oxford and Paris, as its authors ship it: `gnd_roxford5k.pkl`, `gnd_rparis6k.pkl`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.errors import OpenMofiError
from openmofi.evaluation.data.plain_pickle import read_plain_pickle
from openmofi.pairs.formats.files import inside
from openmofi.plugins.benchmarks.revisited_metrics import KINDS


@dataclass(frozen=True)
class Query:
    """A query.

    Attributes:
        name: of its image, without the suffix.
        box: left, upper, right and lower edge of the queried part, in pixels.
        positions: kind (`KINDS`) → positions in `GroundTruth.database`, ascending int64.
    """

    name: str
    box: tuple[float, float, float, float]
    positions: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class GroundTruth:
    """Names of the database's images, without suffix, and the queries."""

    database: list[str]
    queries: list[Query]


def read_ground_truth(path: str | Path) -> GroundTruth:
    """Read a `gnd_*.pkl` without running code; see `read_plain_pickle`.

    Raises:
        OpenMofiError: it has another layout, or refers to images that are not in its list.
    """
    raw = read_plain_pickle(path)
    try:
        database, names, answers = _names(raw["imlist"]), _names(raw["qimlist"]), raw["gnd"]
        if not names or len(names) != len(answers) or not database:
            raise ValueError(f"{len(names)} queries with {len(answers)} answers")
        queries = [
            Query(name, _box(answer["bbx"]), {kind: _positions(answer[kind], len(database)) for kind in KINDS})
            for name, answer in zip(names, answers, strict=True)
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise OpenMofiError(
            f"{path} is not a ground truth of Revisited Oxford or Paris: {error}.",
            "It has imlist, qimlist and gnd, with bbx, easy, hard and junk for each query.",
        ) from error
    return GroundTruth(database, queries)


def _names(values: Any) -> list[str]:
    names = [str(value) for value in values]
    outside = next((name for name in names if not inside(name)), None)
    if outside is not None:
        raise ValueError(f"the image {outside!r} lies outside the folder")
    return names


def _box(values: Any) -> tuple[float, float, float, float]:
    left, upper, right, lower = (float(value) for value in np.asarray(values, np.float64).ravel())
    if not (np.isfinite([left, upper, right, lower]).all() and left < right and upper < lower):
        raise ValueError(f"the box {values} is empty")
    return left, upper, right, lower


def _positions(values: Any, count: int) -> NDArray[np.int64]:
    # The authors' empty lists have a floating type.
    positions = np.asarray(values).ravel()
    integers = positions.astype(np.int64)
    if len(positions) and (np.any(integers != positions) or integers.min() < 0 or integers.max() >= count):
        raise ValueError(f"a position beyond the {count} images of the database")
    return np.unique(integers)

"""An evaluation by how often a label dataset shows a class: its head, middle and tail, and what it lacks.

The evaluated classes that the dataset has are cut into thirds by its number of images of them, as the evaluators in
training do; the others are `unseen`. An item belongs to its class: the query's, or the image's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from openmofi.arrays import Ints
from openmofi.bootstrap import bootstrap_interval
from openmofi.dataset.tables import Folder
from openmofi.errors import UsageError
from openmofi.evaluation.protocol import EvaluationProtocol, Measured
from openmofi.evaluation.result import GROUP, ITEM, PART
from openmofi.knowledge.names import normalise
from openmofi.objectives.margin_softmax import thirds_by_count

BANDS = ("head", "middle", "tail")
"""Thirds of the classes, by their number of images."""


def thirds_of(labels: Ints, counts: Ints) -> Ints:
    """(n,) 0 for images of the third of these classes with the most images, 2 for those of the rarest third.

    Args:
        labels: (n,) class of each image.
        counts: (classes,) images of each class where they are counted.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    return thirds_by_count(torch.from_numpy(counts[classes])).numpy()[codes]


def by_band(values: NDArray[Any], bands: Ints) -> dict[str, float]:
    """Return band → mean of its rows' values, without NaN; bands without values are left out.

    Args:
        values: (n,) of the rows.
        bands: (n,) positions in `BANDS`.
    """
    measured = ~np.isnan(values.astype(np.float64))
    return {
        name: float(values[measured & (bands == number)].mean())
        for number, name in enumerate(BANDS)
        if (measured & (bands == number)).any()
    }


UNSEEN, AMBIGUOUS = "unseen", "ambiguous"

Names = NDArray[np.object_]


@dataclass(frozen=True)
class ClassCounts:
    """How many images of each class a label dataset has.

    Attributes:
        path, fingerprint: of the dataset.
        by_id: identifier → images.
        by_name: normalised name → images; `None` where several classes have it.
    """

    path: str
    fingerprint: str
    by_id: dict[str, int]
    by_name: dict[str, int | None]

    @classmethod
    def open(cls, path: str | Path) -> ClassCounts:
        """Read the counts of the dataset that `openmofi dataset build` wrote to `path`.

        Raises:
            OpenMofiError: there is none, or it is unfinished or damaged.
        """
        folder = Folder.open(path, "dataset")
        ids, names, images = (folder.vocabulary[name].to_pylist() for name in ("id", "name", "images"))
        keys = [normalise(name) for name in names]
        often = Counter(keys)
        return cls(
            folder.path,
            folder.manifest.fingerprint,
            dict(zip(ids, images, strict=True)),
            {key: count if often[key] == 1 else None for key, count in zip(keys, images, strict=True) if key},
        )

    def of(self, name: str) -> int | None:
        """Images of a class, by its identifier or its name; 0 where there is none, `None` where it may be several."""
        return self.by_id[name] if name in self.by_id else self.by_name.get(normalise(name), 0)


def require_classes(protocol: EvaluationProtocol) -> None:
    """Check that a protocol's items have classes that a label dataset may know.

    Raises:
        UsageError: they have none.
    """
    if not protocol.by_class:
        raise UsageError(
            f"The protocol {protocol.name} has no classes with names or identifiers, by which a dataset "
            "could say how often they are seen.",
            "Leave --bands out.",
        )


def with_bands(measured: Measured, counts: ClassCounts) -> Measured:
    """Add each metric of items by band, such as `head/top1_k10`, with intervals, and counts of classes.

    Where the items have no other parts the bands become their parts, so that `openmofi eval compare` tests them too.
    """
    items = measured.items
    assert items is not None
    groups = items[GROUP].to_pylist()
    images = {name: counts.of(name) for name in dict.fromkeys(groups)}
    bands = _bands(groups, images)
    metrics, intervals = dict(measured.metrics), dict(measured.intervals)
    codes = np.unique(groups, return_inverse=True)[1]
    for metric in (name for name in items.column_names if name not in (ITEM, GROUP, PART)):
        values = items[metric].to_numpy().astype(np.float64)
        for band in (*BANDS, UNSEEN):
            rows = (bands == band) & ~np.isnan(values)
            if rows.any():
                metrics[f"{band}/{metric}"] = float(values[rows].mean())
                intervals[f"{band}/{metric}"] = bootstrap_interval(values[rows], codes[rows])
    of_class = Counter(dict(zip(groups, bands.tolist(), strict=True)).values())
    if PART not in items.column_names:
        items = items.append_column(PART, pa.array(bands.tolist(), pa.string()))
    return replace(
        measured,
        metrics=metrics,
        intervals=intervals,
        items=items,
        counts=measured.counts
        | {f"classes_{band}": of_class[band] for band in (*BANDS, UNSEEN)}
        | ({f"classes_{AMBIGUOUS}": of_class[AMBIGUOUS]} if of_class[AMBIGUOUS] else {}),
        facts=measured.facts
        | {
            "bands": {
                "dataset": counts.path,
                "fingerprint": counts.fingerprint,
                "images": {
                    band: [min(sizes), max(sizes)]
                    for band in BANDS
                    if (sizes := [images[name] or 0 for name in dict.fromkeys(np.array(groups)[bands == band])])
                },
            }
        },
    )


def _bands(groups: Sequence[str], images: dict[str, int | None]) -> Names:
    """(items,) the band of each."""
    counts = np.array([images[name] if images[name] is not None else -1 for name in groups], np.int64)
    bands = np.where(counts < 0, AMBIGUOUS, UNSEEN).astype(object)
    seen = counts > 0
    names, labels = np.unique(
        [name for name, is_seen in zip(groups, seen, strict=True) if is_seen], return_inverse=True
    )
    name_counts = np.array([images[name] for name in names.tolist()], np.int64)
    bands[seen] = np.array(BANDS, object)[thirds_of(labels, name_counts)]
    return bands

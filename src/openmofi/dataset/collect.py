"""What is accepted in all label tables, the counts of everything else, and the statistics made of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.arrays import Ints
from openmofi.dataset.filters import LabelArrays, Outcome, Selection, blocks
from openmofi.dataset.passes import LabelCounts, Passes
from openmofi.dataset.tables import Codebook, Folder, Surfaces, as_array
from openmofi.engine.steps import Running, Step
from openmofi.errors import OpenMofiError
from openmofi.storage import Shard, read_json, write_error
from openmofi.storage.addresses import in_threads
from openmofi.version import __version__

_AHEAD = 32
"""Shards whose tables are in memory at once."""


@dataclass(frozen=True)
class Collected:
    """The result of the first pass over the labels.

    Attributes:
        labels: the accepted labels; images are numbered in reading order over all shards.
        starts: (shards + 1,) number of the first image of each shard.
        row: (images,) int32, each image's row in its shard's table; like the labels in a mapped file.
        entities: identifiers by entity code.
        counts: see there.
        surfaces: surface forms of the accepted entities; empty with a knowledge base.
    """

    labels: LabelArrays
    starts: Ints
    row: np.ndarray
    entities: list[str]
    counts: LabelCounts
    surfaces: Surfaces


_FILES = {
    name: np.dtype(kind)
    for name, kind in (
        ("image", np.int64),
        ("entity", np.int32),
        ("probability", np.float32),
        ("phash", np.uint64),
        ("salt", np.uint64),
        ("row", np.int32),
    )
}


def collect(folder: Folder, passes: Passes, scratch: Path, running: Running) -> Collected:
    """Read the labels, a task a shard; what the filters need is written to files in `scratch`, and mapped.

    With a knowledge base entities that were merged since are what they were merged into; without one the surface forms
    are counted.
    """
    step = Step("collect", passes.path, partial(getattr, passes, "collect"), LabelCounts)
    counted = running.complete(step, folder.shards)
    for error in running.failed.values():
        raise error
    counts = reduce(add, counted, LabelCounts())
    book, surfaces, starts = Codebook(), Surfaces(), [0]
    for table in _a_few_ahead(passes.accepted, folder.shards):
        of_image = as_array(table["labels"])
        labels = of_image.flatten()
        entity, forms = labels.field("entity"), labels.field("surfaces")
        of_label = entity.take(pc.list_parent_indices(forms))
        surfaces.update(zip(of_label.to_pylist(), forms.flatten().to_pylist(), strict=True))
        image = pc.list_parent_indices(of_image).to_numpy(zero_copy_only=False)
        columns = (
            image.astype(np.int64) + starts[-1],
            book.encode(entity),
            labels.field("probability").to_numpy(zero_copy_only=False),
            *(table[name].to_numpy() for name in ("phash", "salt", "row")),
        )
        for (name, kind), values in zip(_FILES.items(), columns, strict=True):
            _append(scratch / name, values.astype(kind, copy=False).tobytes())
        starts.append(starts[-1] + len(table))
    image, code, probability, phash, salt, row = (_mapped(scratch / name, kind) for name, kind in _FILES.items())
    by_entity = _mapped(scratch / "by_entity", np.dtype(np.int64), len(image))
    labels = LabelArrays.of(image, code, probability, phash, salt, len(book), by_entity)
    return Collected(labels, np.array(starts), row, book.values, counts, surfaces)


def _a_few_ahead(read: Callable[[Shard], pa.Table], shards: Sequence[Shard]) -> Iterator[pa.Table]:
    for start in range(0, len(shards), _AHEAD):
        yield from in_threads(read, shards[start : start + _AHEAD])


def _append(path: Path, values: bytes) -> None:
    try:
        with open(path, "ab") as file:
            file.write(values)
    except OSError as error:
        raise write_error(error, path) from error


def _mapped(path: Path, kind: np.dtype[Any], rows: int = 0) -> np.ndarray:
    """Map a file of numbers; one of so many zeros is written where there is none."""
    if not path.exists():
        _append(path, b"")
        for block in blocks(rows):
            _append(path, bytes((block.stop - block.start) * kind.itemsize))
    return np.memmap(path, kind, "r+").view(np.ndarray) if path.stat().st_size else np.zeros(0, kind)


STAGES = ("pairs", "usable", "with mentions", "linked", "labelled", "dataset")
_CURVE_POINTS = 200


@dataclass(frozen=True)
class Statistics:
    """Counts of a dataset.

    Attributes:
        rows: rows of the labels. `statuses` sums to it; `outcomes` sums to `statuses["labelled"]`.
        images, entities, labels: of the dataset; a label is an (image, entity).
        statuses: status of the label table → rows.
        reasons: why judged entities were accepted or not → judged entities.
        outcomes: what became of the labelled images: `kept`, `near_duplicate`, `semantic_duplicate`, `beyond_cap`,
            `below_minimum`, `in_evaluation_set`.
        funnel: stage → pairs that reached it, from `pairs` to `dataset`.
        entities_per_image: number of labels → images with so many.
        images_per_entity: `min`, `median`, `mean`, `max`.
        long_tail: [rank, images] at up to 200 ranks, log-spaced; rank 1 has most images.
        types: type → {entities, labels}; empty without a knowledge base.
        rounds: rounds of the filters until nothing changed.
        excluded: evaluation set → what was found of it (`plugins/evaluation_copies.py:ExcludedSet`).
    """

    rows: int
    images: int
    entities: int
    labels: int
    statuses: dict[str, int]
    reasons: dict[str, int]
    outcomes: dict[str, int]
    funnel: dict[str, int]
    entities_per_image: dict[str, int]
    images_per_entity: dict[str, float]
    long_tail: list[list[int]]
    types: dict[str, dict[str, int]]
    rounds: int
    excluded: dict[str, dict[str, Any]] = field(default_factory=dict)

    def in_order(self) -> Statistics:
        """The same in the order meant for people; JSON is sorted by name."""
        return replace(
            self,
            funnel={stage: self.funnel[stage] for stage in STAGES},
            entities_per_image=dict(sorted(self.entities_per_image.items(), key=lambda entry: int(entry[0]))),
            types=dict(sorted(self.types.items(), key=lambda entry: (-entry[1]["entities"], entry[0]))),
            images_per_entity={name: self.images_per_entity[name] for name in ("min", "median", "mean", "max")},
            outcomes={outcome.name.lower(): self.outcomes.get(outcome.name.lower(), 0) for outcome in Outcome},
        )


def summarise(
    counts: LabelCounts,
    labels: LabelArrays,
    selection: Selection,
    per_entity: np.ndarray,
    types: dict[str, dict[str, int]],
    excluded: dict[str, dict[str, Any]] | None = None,
) -> Statistics:
    """Statistics from the first pass and the filters; `per_entity` are the classes' image counts, descending."""
    per_image = np.zeros(labels.images, np.uint16)
    for block in blocks(len(labels.image)):
        image = labels.image[block][selection.label[block]]
        if len(image):  # ascending
            per_image[image[0] : image[-1] + 1] += np.bincount(image - image[0]).astype(np.uint16)
    sizes, how_many = np.unique(per_image[per_image > 0], return_counts=True)
    outcomes = {outcome.name.lower(): int((selection.outcome == outcome).sum()) for outcome in Outcome}
    return Statistics(
        rows=counts.rows,
        images=outcomes["kept"],
        entities=len(per_entity),
        labels=int(selection.label.sum()),
        statuses=dict(sorted(counts.statuses.items())),
        reasons=dict(sorted(counts.reasons.items())),
        outcomes=outcomes,
        funnel=dict(
            zip(
                STAGES,
                (counts.rows, counts.usable, counts.mentioned, counts.linked, labels.images, outcomes["kept"]),
                strict=True,
            )
        ),
        entities_per_image={str(size): int(count) for size, count in zip(sizes, how_many, strict=True)},
        images_per_entity={
            "min": float(per_entity.min()),
            "median": float(np.median(per_entity)),
            "mean": round(float(per_entity.mean()), 3),
            "max": float(per_entity.max()),
        },
        long_tail=_long_tail(per_entity),
        types=types,
        rounds=selection.rounds,
        excluded=excluded or {},
    )


def read_statistics(dataset: str | Path) -> Statistics:
    """Read `statistics.json` of a dataset.

    Raises:
        OpenMofiError: it is missing or damaged.
    """
    path, hint = f"{dataset}/statistics.json", "Build the dataset again."
    statistics = read_json(path, Statistics, hint)
    try:
        return statistics.in_order()
    except (KeyError, ValueError) as error:
        raise OpenMofiError(f"{path} cannot be read: it lacks {error}.", hint) from error


def how_labelled(dataset: str | Path) -> list[str]:
    """Sentences about a dataset's labels.

    Raises:
        OpenMofiError: it is no finished dataset.
    """
    folder = Folder.open(dataset, "dataset")
    statistics, settings = read_statistics(dataset), folder.manifest.settings
    usable = statistics.funnel.get("usable", 0)
    return [
        f"OpenMOFI {__version__} linked the texts of {statistics.rows:,} image–text pairs ({usable:,} usable) to "
        "entities of a knowledge base and kept an entity where the image shows it, by a calibrated probability; no "
        "person labelled an image.",
        f"{statistics.images:,} images, {statistics.entities:,} entities, {statistics.labels:,} labels; entities with "
        f"fewer than {settings.get('min_images')} images were dropped.",
        f"Labels {folder.manifest.inputs.get('labels', '')}, dataset {folder.manifest.fingerprint}.",
    ]


def _long_tail(descending: np.ndarray) -> list[list[int]]:
    ranks = np.unique(np.geomspace(1, len(descending), _CURVE_POINTS).round().astype(int))
    return [[int(rank), int(descending[rank - 1])] for rank in ranks]

"""Recall@K of the fine-grained sets that metric learning reports: Stanford Online Products, CUB-200-2011, iNaturalist.

Every image of the test split is a query against the others; recall@K is the share of queries with an image of their
class among the first K (Song et al., CVPR 2016). The query itself is left out by its row, also where a duplicate has
the same score; code that drops whatever ranks first (Proxy-Anchor's, for one) then counts the query as its own hit.
Test splits: SOP's `Ebay_test.txt` (11,316 classes); the classes 101 to 200 of CUB; iNaturalist 2018 as SmoothAP splits
it (Brown et al., ECCV 2020). K: 1, 10, 100, 1000; 1, 2, 4, 8; 1, 4, 16, 32.

Data: see openmofi eval sources sop, cub, inaturalist. Layout: DIR/Ebay_test.txt and DIR/CLASS_final/IMAGE;
DIR/images.txt, DIR/image_class_labels.txt and DIR/images/CLASS/IMAGE; DIR/Inat_dataset_splits/Inaturalist_test_set1.txt
and DIR/train_val2018/KINGDOM/CLASS/IMAGE.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmofi.config import PositiveInt, Settings
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.metrics.ranking import checked_embeddings
from openmofi.evaluation.protocol import (
    NEIGHBOURS_SHOWN,
    EvaluationProtocol,
    Measured,
    Subject,
    data_fingerprint,
    nearest_failures,
)
from openmofi.features.images import file_sources
from openmofi.pairs.formats.files import inside
from openmofi.plugins.benchmarks.nearest import Nearest, without_own
from openmofi.plugins.protocols.class_names import require_folder

_FIRST_TEST_CLASS_OF_CUB = 101


@dataclass(frozen=True)
class RecallSettings(Settings):
    """Settings of `recall`.

    Attributes:
        recall_at: the values of K; by default those that are published for the data.
    """

    recall_at: tuple[PositiveInt, ...] = ()


@dataclass(frozen=True)
class Layout:
    """How a dataset lists its test split.

    Attributes:
        marker: the file that tells it.
        recall_at: the published K.
        read: folder → image, relative to the folder, → class.
    """

    marker: str
    recall_at: tuple[int, ...]
    read: Callable[[Path], dict[str, str]]


def _sop(folder: Path) -> dict[str, str]:
    header, *rows = _fields(folder / SETS["sop"].marker, 4)
    if header != ["image_id", "class_id", "super_class_id", "path"]:
        raise OpenMofiError(f"{folder / SETS['sop'].marker} has the columns {', '.join(header)}.", "Unpack SOP again.")
    return {path: name for _, name, _, path in rows}


def _cub(folder: Path) -> dict[str, str]:
    class_of = {number: int(name) for number, name in _fields(folder / "image_class_labels.txt", 2)}
    return {
        f"images/{path}": str(class_of[number])
        for number, path in _fields(folder / "images.txt", 2)
        if class_of.get(number, 0) >= _FIRST_TEST_CLASS_OF_CUB
    }


def _inaturalist(folder: Path) -> dict[str, str]:
    paths = [path for (path,) in _fields(folder / SETS["inaturalist"].marker, 1)]
    return {path: str(Path(path).parent) for path in paths}


SETS: Mapping[str, Layout] = {
    "sop": Layout("Ebay_test.txt", (1, 10, 100, 1000), _sop),
    "cub": Layout("image_class_labels.txt", (1, 2, 4, 8), _cub),
    "inaturalist": Layout("Inat_dataset_splits/Inaturalist_test_set1.txt", (1, 4, 16, 32), _inaturalist),
}
"""Name of the dataset → its layout."""


def _fields(path: Path, count: int) -> list[list[str]]:
    try:
        rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Unpack the dataset again.") from error
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != count), None)
    if wrong is not None or not rows:
        raise OpenMofiError(f"{path} has no {count} fields in line {wrong or 1}.", "Unpack the dataset again.")
    return rows


def split_of(data: str | Path) -> tuple[str, dict[str, str]]:
    """Return the dataset's name, and the class of each image of its test split.

    Raises:
        OpenMofiError: the folder has none of the layouts, or its list has faults.
    """
    folder = require_folder(data)
    name = next((name for name, layout in SETS.items() if (folder / layout.marker).is_file()), None)
    if name is None:
        raise OpenMofiError(
            f"{data} has none of {', '.join(layout.marker for layout in SETS.values())}.",
            "Give the folder of SOP, CUB-200-2011 or iNaturalist 2018; see `openmofi eval sources`.",
        )
    classes = SETS[name].read(folder)
    outside = next((path for path in classes if not inside(path)), None)
    if outside is not None or not classes:
        raise OpenMofiError(
            f"The test split of {data} {f'names {outside!r}' if outside else 'is empty'}.", "Unpack the dataset again."
        )
    return name, classes


def measure(subject: Subject) -> Measured:
    """Measure an encoder by the protocol of this module."""
    name, class_of = split_of(subject.data)
    recall_at = sorted(set(subject.settings.recall_at or SETS[name].recall_at))
    images = subject.features.embed(file_sources(subject.data, list(class_of), name))
    classes = [class_of[key] for key in images.keys]
    _, codes, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    if max(recall_at) >= len(classes):
        raise UsageError(
            f"recall_at={max(recall_at)} is more than the {len(classes) - 1} other images.", "Set smaller values."
        )
    nearest = Nearest(checked_embeddings(images.embeddings), max(*recall_at, NEIGHBOURS_SHOWN) + 1)
    nearest.add(images.embeddings)
    rows, scores = without_own(nearest, np.arange(len(classes)))
    correct = codes[rows] == codes[:, None]
    lonely = sizes[codes] == 1
    values = {f"recall_at_{k}": np.where(lonely, np.nan, correct[:, :k].any(axis=1)) for k in recall_at}
    first = np.where(correct.any(axis=1), correct.argmax(axis=1), correct.shape[1])
    worst = np.argsort(np.where(lonely, -1, first), kind="stable")[::-1][: subject.failures]
    return Measured.of_items(
        images.keys,
        classes,
        values,
        drawn=codes,
        data={"dataset": name},
        data_fingerprint=data_fingerprint([images], [classes]),
        images=[images],
        counts={"images": len(classes), "classes": len(sizes), "queries_without_positives": int(lonely.sum())},
        failures=nearest_failures(
            (images.ids, classes, -(first + 1)),
            worst.tolist(),
            (images.ids, classes),
            (rows[worst], scores[worst], correct[worst]),
        ),
    )


PROTOCOL = EvaluationProtocol(
    name="recall",
    version=1,
    headline="recall_at_1",
    settings=RecallSettings,
    measure=measure,
    score="rank of the first image of its class, negated",
    by_class=True,
    rule="Images that cannot be read are neither queries nor in the index; images alone in their class are no queries.",
)

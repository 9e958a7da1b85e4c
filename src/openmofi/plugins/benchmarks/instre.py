"""INSTRE (Wang, Jiang, ACM TOMM 2015) in the split of Iscen et al. (CVPR 2017): mAP over the full ranking.

1,250 queries, cropped to their box, look for images of their object among 27,293. Average precision is the trapezoidal
one of Oxford and Paris, see `openmofi.plugins.benchmarks.revisited`; there is no junk.

Data: https://cmp.felk.cvut.cz/~iscenahm/code.html (ground truth and images). Layout: DIR/gnd_instre.mat,
DIR/INSTRE-S1/…, DIR/INSTRE-S2/…, DIR/INSTRE-M/…; openmofi eval sources instre.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmofi.arrays import Ints
from openmofi.config import Settings
from openmofi.errors import OpenMofiError
from openmofi.evaluation.protocol import EvaluationProtocol, Measured, Subject, data_fingerprint
from openmofi.features.images import file_sources
from openmofi.pairs.formats.files import inside
from openmofi.plugins.benchmarks.revisited import (
    GroundTruth,
    ImageQuery,
    Ranking,
    average_precision,
    query_source,
    worst_queries,
)
from openmofi.plugins.protocols.class_names import require_folder
from openmofi.storage import fingerprint

TRUTH = "gnd_instre.mat"


@dataclass(frozen=True)
class InstreSettings(Settings):
    """`instre` has no settings."""


def read_instre(path: Path) -> GroundTruth:
    """Read the authors' ground truth; names keep their suffix, all positives are `easy`.

    Raises:
        OpenMofiError: it cannot be read, or has another layout.
    """
    from scipy.io import loadmat

    try:
        raw = loadmat(path)
        database, names = (
            [str(np.ravel(entry)[0]) for entry in np.ravel(raw[field])] for field in ("imlist", "qimlist")
        )
        answers = [
            (np.ravel(entry[0]).astype(np.int64) - 1, np.ravel(entry[1]).astype(np.float64))
            for entry in np.ravel(raw["gnd"])
        ]
        fits = len(answers) == len(names) > 0 and all(
            len(box) == 4 and len(at) and at.min() >= 0 and at.max() < len(database) for at, box in answers
        )
    except Exception as error:  # loadmat raises what a damaged file leads it to
        raise OpenMofiError(
            f"{path} is not INSTRE's ground truth ({type(error).__name__}: {error}).", "Download it again."
        ) from error
    if not fits or not all(inside(name) for name in [*database, *names]):
        raise OpenMofiError(
            f"{path} is not INSTRE's ground truth: queries, boxes and positives do not fit together.",
            "Download it again.",
        )
    empty = np.zeros(0, np.int64)
    # MATLAB counts from 1; boxes are left, upper, width, height.
    return GroundTruth(
        database,
        [
            ImageQuery(
                name,
                (box[0], box[1], box[0] + box[2], box[1] + box[3]),
                {"easy": np.unique(at), "hard": empty, "junk": empty},
            )
            for name, (at, box) in zip(names, answers, strict=True)
        ],
    )


def measure(subject: Subject) -> Measured:
    """Measure an encoder by the protocol of this module."""
    folder = require_folder(subject.data)
    truth = read_instre(folder / TRUTH)
    images = subject.features.embed([query_source(folder, truth.queries, "", "instre-queries")])
    database = subject.features.embed(file_sources(folder, truth.database, "instre"))
    queries = [truth.queries[int(key.split("-")[0])] for key in images.keys]
    row_of = {key: row for row, key in enumerate(database.keys)}
    rows: Ints = np.array([row_of.get(image, -1) for image in truth.database], np.int64)
    ranking = Ranking(images.embeddings, database.embeddings, [query.positions for query in queries], rows)
    values = np.array([average_precision(*of_query.positives("easy")) for of_query in ranking.ranks()])
    objects = [str(Path(query.name).parent) for query in queries]
    return Measured.of_items(
        images.keys,
        objects,
        {"map": values},
        interval_over="objects",
        data_fingerprint=fingerprint(
            [
                data_fingerprint([images, database], [images.keys, database.keys]),
                [[query.box, query.positions["easy"].tolist()] for query in queries],
            ]
        ),
        counts={"images": len(database.keys), "queries": len(queries), "objects": len(set(objects))},
        images=[images, database],
        failures=worst_queries(values, images.ids, images.embeddings, queries, rows, database, subject.failures),
    )


PROTOCOL = EvaluationProtocol(
    name="instre",
    version=1,
    headline="map",
    settings=InstreSettings,
    measure=measure,
    score="average precision",
    rule="A query that cannot be read is left out. A database image that cannot be read is never found, and stays "
    "among its queries' positives.",
)

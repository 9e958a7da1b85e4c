"""Google Landmarks v2, retrieval (Weyand, Araujo, Cao, Sim, CVPR 2020): mAP@100.

Every query of the solution that is not `Ignored` is ranked against the index; see
`openmofi.evaluation.metrics.ranking` for the formula. `map_at_100_private` is what papers call "test" (750 queries),
`map_at_100_public` what they call "validation" (379). The index is embedded in parts, of which only each query's
nearest 100 are kept.

Data: https://github.com/cvdfoundation/google-landmark. Layout: DIR/retrieval_solution_v2.1.csv, DIR/test/…/ID.jpg,
DIR/index/…/ID.jpg; openmofi eval sources gldv2.
"""

import csv
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmofi.config import PositiveInt, Settings
from openmofi.errors import OpenMofiError
from openmofi.evaluation.protocol import EvaluationProtocol, Measured, Subject, data_fingerprint
from openmofi.features.images import file_sources, images_in
from openmofi.plugins.benchmarks.nearest import average_precision_at, search, worst
from openmofi.plugins.protocols.class_names import require_folder
from openmofi.storage import fingerprint

SOLUTION = "retrieval_solution_v2.1.csv"
_USAGES = ("Private", "Public", "Ignored")


@dataclass(frozen=True)
class Gldv2Settings(Settings):
    """Settings of `gldv2`.

    Attributes:
        k: how many images of each ranking count.
    """

    k: PositiveInt = 100


@dataclass(frozen=True)
class Landmarks:
    """The solution: each query's positives, and whether it is `private` or `public`, by image identifiers."""

    positives: Mapping[str, Set[str]]
    usage: Mapping[str, str]


def read_solution(path: Path) -> Landmarks:
    """Read the authors' solution: columns `id`, `images` (identifiers, by spaces), `Usage`; ignored rows are left out.

    Raises:
        OpenMofiError: it cannot be read, or has another layout.
    """
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle, strict=True))
        wrong = next((number for number, row in enumerate(rows, 2) if row["Usage"] not in _USAGES), None)
        judged = [row for row in rows if row["Usage"] != "Ignored"]
        positives = {row["id"]: set(row["images"].split()) for row in judged}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError) as error:
        raise OpenMofiError(
            f"{path} is not a solution of GLDv2's retrieval ({type(error).__name__}: {error}).",
            f"Give the folder with the authors' {SOLUTION}.",
        ) from error
    if wrong is not None or not judged or not all(positives.values()):
        fault = f"an unknown usage in line {wrong}" if wrong else "queries without images"
        raise OpenMofiError(f"{path} has {fault}.", "Download it again.")
    return Landmarks(positives, {row["id"]: row["Usage"].lower() for row in judged})


def measure(subject: Subject) -> Measured:
    """Measure an encoder by the protocol of this module."""
    folder, k = require_folder(subject.data), subject.settings.k
    truth = read_solution(folder / SOLUTION)
    query_files = [file for file in images_in(require_folder(folder / "test")) if Path(file).stem in truth.positives]
    if not query_files:
        raise OpenMofiError(f"{folder / 'test'} has no image of the queries.", "Unpack the test images there.")
    images = subject.features.embed(file_sources(folder / "test", query_files, "gldv2-test"))
    files = images_in(require_folder(folder / "index"))
    path_of = {Path(file).stem: file for file in files}
    queries = [Path(key).stem for key in images.keys]
    positives = [{path_of.get(image, image) for image in truth.positives[query]} for query in queries]
    searched = search(
        subject.features,
        images.embeddings,
        file_sources(folder / "index", files, "gldv2-index"),
        set().union(*positives),
        k,
    )
    relevant = searched.relevant(positives)
    values = np.array(
        [average_precision_at(hits, len(of_query), k) for hits, of_query in zip(relevant, positives, strict=True)]
    )
    usage = np.array([truth.usage[query] for query in queries])
    columns = {f"map_at_{k}_{part}": np.where(usage == part, values, np.nan) for part in ("private", "public")}
    columns = {name: numbers for name, numbers in columns.items() if not np.isnan(numbers).all()}
    listed = set().union(*truth.positives.values())
    return Measured.of_items(
        queries,
        queries,
        columns,
        interval_over="queries",
        data_fingerprint=fingerprint(
            [data_fingerprint([images], [queries]), searched.prints, [sorted(of_query) for of_query in positives]]
        ),
        counts={
            "images": searched.count,
            "queries": len(queries),
            "queries_listed": len(truth.positives),
            "positives_missing": len(listed - set(path_of)),
        },
        facts={"as_published": len(queries) == len(truth.positives) and listed <= set(path_of)},
        images=[images, *searched.refused],
        failures=worst(images.ids, queries, values, searched, relevant, subject.failures),
    )


PROTOCOL = EvaluationProtocol(
    name="gldv2",
    version=1,
    headline="map_at_100_private",
    settings=Gldv2Settings,
    measure=measure,
    score="average precision over the first k",
    rule="A query that cannot be read is left out (facts.as_published is then false). A positive that cannot be read "
    "is never found, and stays among its queries' positives.",
)

"""Revisited Oxford and Revisited Paris; see `openmofi.plugins.benchmarks.revisited_metrics` for the definitions.

Queries are cropped to their box before the encoder's preprocessing, and are not in the database. Distractors, a million
in the paper, are embedded in parts of some thousand images, of which only the ranks are kept.

Data: http://cmp.felk.cvut.cz/revisitop (annotation; images by the Visual Geometry Group, Oxford, from Flickr). Layout:
DIR/gnd_roxford5k.pkl or DIR/gnd_rparis6k.pkl, DIR/jpg/NAME.jpg; openmofi eval sources roxford5k.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from openmofi.bootstrap import bootstrap_interval
from openmofi.config import PositiveInt, Settings
from openmofi.errors import OpenMofiError
from openmofi.evaluation.data.cropped import cropped
from openmofi.evaluation.data.folders import require_folder
from openmofi.evaluation.features import ImageId, data_fingerprint, image_ids
from openmofi.evaluation.metrics.ranking import Floats, Index, Ints, nearest_rows
from openmofi.evaluation.protocol import EvaluationProtocol, Failure, Measured, Subject, nearest_answers
from openmofi.evaluation.protocols.retrieval.ranked import NEIGHBOURS_SHOWN
from openmofi.evaluation.result import items_table
from openmofi.features.images import EmbeddedImages
from openmofi.features.sources import ImageSource, Load, file_sources, images_in
from openmofi.plugins.benchmarks.revisited_data import GroundTruth, Query, read_ground_truth
from openmofi.plugins.benchmarks.revisited_metrics import DIFFICULTIES, Ranking, average_precision, precision_at
from openmofi.storage import fingerprint

DATASETS = ("roxford5k", "rparis6k")
SUFFIX = ".jpg"
HEADLINE = "map_medium"


@dataclass(frozen=True)
class RevisitedSettings(Settings):
    """Settings of `revisited`.

    Attributes:
        distractors: a folder of further images, e.g. the authors' revisitop1m; none by default.
        precision_at: the values of k of mean precision.
    """

    distractors: str = ""
    precision_at: tuple[PositiveInt, ...] = (1, 5, 10)


def measure(subject: Subject) -> Measured:
    """See the module."""
    settings: RevisitedSettings = subject.settings
    name, truth = _ground_truth(subject.data)
    folder = subject.data / "jpg"
    images = subject.features.embed([query_source(folder, truth.queries, SUFFIX, f"{name}-queries")])
    database = subject.features.embed(file_sources(folder, [f"{image}{SUFFIX}" for image in truth.database], name))
    queries = [truth.queries[int(key.split("-")[0])] for key in images.keys]
    row_of = {key: row for row, key in enumerate(database.keys)}
    rows = np.array([row_of.get(f"{image}{SUFFIX}", -1) for image in truth.database], np.int64)
    ranking = Ranking(images.embeddings, database.embeddings, [query.positions for query in queries], rows)
    distractors, parts = _add_distractors(subject, settings.distractors, ranking)
    values = _values(ranking, settings)
    known = {metric: numbers for metric, numbers in values.items() if not np.isnan(numbers).all()}
    return Measured(
        metrics={metric: float(np.nanmean(numbers)) for metric, numbers in known.items()},
        intervals={metric: bootstrap_interval(numbers, images.keys) for metric, numbers in known.items()},
        interval_over="queries",
        data={"dataset": name},
        data_fingerprint=fingerprint(
            [
                data_fingerprint([images, database], [images.keys, database.keys]),
                parts,
                [
                    [query.box, {kind: of_kind.tolist() for kind, of_kind in query.positions.items()}]
                    for query in truth.queries
                ],
            ]
        ),
        counts={
            "images": len(database.keys),
            "queries": len(images.keys),
            "distractors": sum(count for count, _ in parts),
            **{f"queries_without_{level}": int(np.isnan(values[f"map_{level}"]).sum()) for level in DIFFICULTIES},
        },
        images=[images, database, *distractors],
        items=items_table(images.keys, images.keys, known),
        failures=worst_queries(
            values[HEADLINE], image_ids(images), images.embeddings, queries, rows, database, subject.failures
        ),
    )


def _ground_truth(data: Path) -> tuple[str, GroundTruth]:
    folder = require_folder(data)
    names = [name for name in DATASETS if (folder / f"gnd_{name}.pkl").is_file()]
    if len(names) != 1:
        raise OpenMofiError(
            f"{data} has {'no' if not names else 'more than one'} ground truth "
            f"{' or '.join(f'gnd_{name}.pkl' for name in DATASETS)}.",
            "Give the folder of one dataset, with its pickle and its images in jpg/.",
        )
    truth = read_ground_truth(folder / f"gnd_{names[0]}.pkl")
    images = dict.fromkeys([*truth.database, *(query.name for query in truth.queries)])
    missing = [image for image in images if not (folder / "jpg" / f"{image}{SUFFIX}").is_file()]
    if missing:
        raise OpenMofiError(
            f"{len(missing):,} of {len(images):,} images are not in {folder / 'jpg'}, e.g. {missing[0]}{SUFFIX}.",
            "Unpack the dataset's images there, without subfolders.",
        )
    return names[0], truth


def query_source(root: Path, queries: Sequence[Query], suffix: str, name: str) -> ImageSource:
    """The queries, cropped; keys are NUMBER-NAME, since two queries may share an image.

    Args:
        root: folder of the images.
        queries: their names and boxes.
        suffix: of the files, after the names.
        name: of the source.
    """
    parts = file_sources(root, [f"{query.name}{suffix}" for query in queries], name)

    def read() -> Iterator[tuple[str, Load]]:
        loads = (load for part in parts for _, load in part.read())
        yield from (
            (f"{number}-{query.name}", load) for number, (query, load) in enumerate(zip(queries, loads, strict=True))
        )

    boxes = [query.box for query in queries]
    return cropped(
        ImageSource(name, fingerprint([part.stamp for part in parts]), read),
        boxes,
        lambda key, _: boxes[int(key.split("-")[0])],
    )


def _add_distractors(
    subject: Subject,
    folder: str,
    ranking: Ranking,
) -> tuple[list[EmbeddedImages], list[tuple[int, str]]]:
    """Rank the distractors. Returns the refused images, and (images, fingerprint) of each part."""
    if not folder:
        return [], []
    root = require_folder(folder)
    root = root / "jpg" if (root / "jpg").is_dir() else root
    names = images_in(root)
    if not names:
        raise OpenMofiError(f"{root} has no images.", "Give a folder of distractors.")
    refused, parts = [], []
    for part in subject.features.stream(file_sources(root, names, "distractors")):
        ranking.add(part.embeddings)
        parts.append((len(part.keys), data_fingerprint([part], [part.keys])))
        refused.append(replace(part, shards=[], keys=[], contents=[], embeddings=part.embeddings[:0].copy()))
    return refused, parts


def _values(ranking: Ranking, settings: RevisitedSettings) -> dict[str, np.ndarray]:
    """Metric → (queries,); NaN for queries without positives."""
    values: dict[str, list[float]] = {}
    for query in ranking.ranks():
        for level in DIFFICULTIES:
            ranks, positives = query.positives(level)
            values.setdefault(f"map_{level}", []).append(average_precision(ranks, positives) if positives else np.nan)
            for k in sorted(set(settings.precision_at)):
                values.setdefault(f"mp_at_{k}_{level}", []).append(precision_at(ranks, k) if positives else np.nan)
    return {name: np.array(numbers) for name, numbers in sorted(values.items())}


def worst_queries(
    precisions: np.ndarray,
    ids: Sequence[ImageId],
    embeddings: Floats,
    queries: Sequence[Query],
    rows: Ints,
    database: EmbeddedImages,
    count: int,
) -> list[Failure]:
    """The queries of the lowest AP, with their nearest images of the database that are not junk.

    Args:
        precisions: (q,) NaN where a query does not count.
        ids, embeddings, queries: (q,) and (q, d).
        rows: position in the ground truth's list → row of `database`, −1 where it cannot be read.
        database: the images.
        count: how many queries.
    """
    order = [row for row in np.argsort(precisions, kind="stable").tolist() if not np.isnan(precisions[row])][:count]
    if not order:
        return []
    scores: Floats = Index.of(database.embeddings).scores(embeddings[order])
    database_ids, failures = image_ids(database), []
    names = [Path(key).stem for key in database.keys]
    for row, of_query in zip(order, scores, strict=True):
        readable = {kind: at[at >= 0] for kind, at in ((kind, rows[at]) for kind, at in queries[row].positions.items())}
        of_query[readable["junk"]] = -np.inf
        nearest, near = (side[0] for side in nearest_rows(of_query[None], NEIGHBOURS_SHOWN))
        nearest, near = nearest[np.isfinite(near)], near[np.isfinite(near)]
        positives = np.concatenate([readable[kind] for kind in DIFFICULTIES["medium"][0]])
        failures.append(
            Failure(
                ids[row],
                queries[row].name,
                float(precisions[row]),
                nearest_answers(database_ids, names, nearest, near, np.isin(nearest, positives)),
            )
        )
    return failures


PROTOCOL = EvaluationProtocol(
    name="revisited",
    version=1,
    headline=HEADLINE,
    settings=RevisitedSettings,
    measure=measure,
    score="average precision, medium",
    rule="A query that cannot be read is left out. A database image that cannot be read is never found, and stays "
    "among its queries' positives.",
)

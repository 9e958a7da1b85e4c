"""Revisited Oxford and Revisited Paris, and INSTRE: their ground truth, metrics and protocols.

Queries are cropped to their box before the encoder's preprocessing, and are not in the database. Distractors, a million
in the paper, are embedded in parts of some thousand images, of which only the ranks are kept.

Data: http://cmp.felk.cvut.cz/revisitop (annotation; images by the Visual Geometry Group, Oxford, from Flickr). Layout:
DIR/gnd_roxford5k.pkl or DIR/gnd_rparis6k.pkl, DIR/jpg/NAME.jpg; openmofi eval sources roxford5k.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmofi.arrays import Floats, Ints
from openmofi.config import PositiveInt, Settings
from openmofi.errors import OpenMofiError
from openmofi.evaluation.metrics.ranking import CosineIndex, nearest_rows, ranks_of
from openmofi.evaluation.protocol import (
    NEIGHBOURS_SHOWN,
    EvaluationProtocol,
    Failure,
    ImageId,
    Measured,
    Subject,
    data_fingerprint,
    nearest_answers,
)
from openmofi.features.images import EmbeddedImages, ImageSource, Load, file_sources, images_in
from openmofi.pairs.formats.files import inside
from openmofi.plugins.benchmarks.plain_pickle import read_plain_pickle
from openmofi.plugins.protocols.class_names import cropped, require_folder
from openmofi.storage import fingerprint


@dataclass(frozen=True)
class ImageQuery:
    """A query image, its box, and its positives.

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
    queries: list[ImageQuery]


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
            ImageQuery(name, _box(answer["bbx"]), {kind: _positions(answer[kind], len(database)) for kind in KINDS})
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


# For each query the database holds easy, hard and junk images. Easy: positives are the easy ones, junk are junk and
# hard. Medium: positives are easy and hard, junk is junk. Hard: positives are the hard ones, junk are junk and easy.
# Junk is removed from the ranking. AP is the trapezoidal area under precision over recall:
#
#     AP = Σ_j (p0 + p1) / (2 n),  p0 = j / rank_j (1 where rank_j = 0),  p1 = (j + 1) / (rank_j + 1),  ranks from 0.
#
# P@k = positives among the first k' / k', where k' = min(k, rank of the last positive, from 1). Queries without
# positives are not counted. Ties: see `openmofi.evaluation.metrics.ranking`; a distractor ranks after a database image
# with the same score.

KINDS = ("easy", "hard", "junk")
DIFFICULTIES = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
"""Difficulty → (kinds that are positives, kinds that are junk)."""


def average_precision(ranks: ArrayLike, positives: int) -> float:
    """The trapezoidal AP of positives at `ranks` (from 0, ascending, junk removed) out of `positives`."""
    at = np.asarray(ranks, np.float64)
    order = np.arange(len(at))
    before = np.where(at == 0, 1.0, order / np.maximum(at, 1))
    return float(((before + (order + 1) / (at + 1)) / (2 * positives)).sum())


def precision_at(ranks: ArrayLike, k: int) -> float:
    """P@k of positives at `ranks` (from 0, ascending, junk removed); 0 without ranks."""
    at = np.asarray(ranks) + 1
    if not len(at):
        return 0.0
    depth = min(int(at.max()), k)
    return int((at <= depth).sum()) / depth


@dataclass(frozen=True)
class QueryRanks:
    """The ranks of one query's images, from 0; distractors and junk are in the ranking.

    Attributes:
        ranks: kind → (readable,) ranks, unordered.
        counts: kind → number of images, readable or not.
    """

    ranks: dict[str, Ints]
    counts: dict[str, int]

    def positives(self, difficulty: str) -> tuple[Ints, int]:
        """Return the positives' ranks, ascending, with junk removed; and their number, readable or not."""
        positive, junk = DIFFICULTIES[difficulty]
        ranks = np.sort(np.concatenate([self.ranks[kind] for kind in positive]))
        removed = np.sort(np.concatenate([self.ranks[kind] for kind in junk]))
        return ranks - np.searchsorted(removed, ranks), sum(self.counts[kind] for kind in positive)


class Ranking:
    """Ranks each query's images in the database, then moves them down by the distractors that score higher.

    Args:
        queries: (q, d) L2-normalised.
        database: (n, d) L2-normalised.
        truth: (q,) of each query: kind → positions in the ground truth's list.
        rows: (listed,) position in the ground truth's list → row of `database`; −1 where the image cannot be read.
    """

    def __init__(self, queries: Floats, database: Floats, truth: Sequence[Mapping[str, Ints]], rows: Ints) -> None:
        self._queries, self._truth = queries, truth
        self._ranks: list[Ints] = []
        self._scores: list[Floats] = []
        self._kinds: list[NDArray[Any]] = []
        for start, block in CosineIndex.of(database).blocks(queries):
            for scores, positions in zip(block, truth[start:], strict=False):
                query_rows, kinds = _readable(positions, rows)
                self._kinds.append(kinds)
                self._scores.append(scores[query_rows])
                self._ranks.append(ranks_of(scores, query_rows) - 1)

    def add(self, distractors: Floats) -> None:
        """Add (m, d) further images, all negatives, to the database."""
        for start, block in CosineIndex.of(distractors).blocks(self._queries):
            for query, scores in enumerate(block, start):
                self._ranks[query] += len(scores) - np.searchsorted(np.sort(scores), self._scores[query], "right")

    def ranks(self) -> list[QueryRanks]:
        """Return the (q,) ranks of each query's images."""
        return [
            QueryRanks({kind: ranks[kinds == kind] for kind in KINDS}, {kind: len(positions[kind]) for kind in KINDS})
            for ranks, kinds, positions in zip(self._ranks, self._kinds, self._truth, strict=True)
        ]


def _readable(positions: Mapping[str, Ints], rows: Ints) -> tuple[Ints, NDArray[Any]]:
    """Rows of a query's readable images, ascending, and the kind of each."""
    listed = np.concatenate([rows[positions[kind]] for kind in KINDS])
    kinds = np.repeat(np.array(KINDS, object), [len(positions[kind]) for kind in KINDS])
    readable = np.flatnonzero(listed >= 0)
    order = readable[np.argsort(listed[readable], kind="stable")]
    return listed[order], kinds[order]


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
    """Measure an encoder by the protocol of this module."""
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
    defined = {metric: numbers for metric, numbers in values.items() if not np.isnan(numbers).all()}
    return Measured.of_items(
        images.keys,
        images.keys,
        defined,
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
        failures=worst_queries(
            values[HEADLINE], images.ids, images.embeddings, queries, rows, database, subject.failures
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


def query_source(root: Path, queries: Sequence[ImageQuery], suffix: str, name: str) -> ImageSource:
    """Return the source of cropped queries; keys are NUMBER-NAME, since two queries may share an image.

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
    """Return each metric's (queries,) values; NaN for queries without positives."""
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
    queries: Sequence[ImageQuery],
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
    scores: Floats = CosineIndex.of(database.embeddings).scores(embeddings[order])
    database_ids, failures = database.ids, []
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

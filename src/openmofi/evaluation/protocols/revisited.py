"""Revisited Oxford and Revisited Paris; see `openmofi.evaluation.metrics.revisited` for the definitions.

Queries are cropped to their box before the encoder's own preprocessing, and are no part of the database. Distractors, a
million in the paper, go through in parts of some thousand images, of which nothing but ranks is kept.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from openmofi.config import PositiveInt, Settings
from openmofi.errors import OpenMofiError
from openmofi.evaluation.data.folders import pictures_in, require_folder
from openmofi.evaluation.data.images import ImageSource, Load, file_sources
from openmofi.evaluation.embed import EmbeddedImages
from openmofi.evaluation.features import data_fingerprint
from openmofi.evaluation.metrics.bootstrap import bootstrap_interval
from openmofi.evaluation.metrics.ranking import Floats, Index, Ints, nearest_places
from openmofi.evaluation.metrics.revisited import (
    DIFFICULTIES,
    GroundTruth,
    Query,
    Ranking,
    average_precision,
    precision_at,
    read_ground_truth,
)
from openmofi.evaluation.protocol import EvaluationProtocol, Failure, Measured, Subject
from openmofi.evaluation.protocols.ranked import NEIGHBOURS_SHOWN
from openmofi.evaluation.result import items_table
from openmofi.pairs import ImageRefused, decode_image
from openmofi.schema import Pair
from openmofi.storage import fingerprint

DATASETS = ("roxford5k", "rparis6k")
ENDING = ".jpg"
HEADLINE = "map_medium"


@dataclass(frozen=True)
class RevisitedSettings(Settings):
    """Settings of `revisited`.

    Attributes:
        distractors: a folder of further images, such as the authors' revisitop1m; none by default.
        precision_at: the k of mean precision.
    """

    distractors: str = ""
    precision_at: tuple[PositiveInt, ...] = (1, 5, 10)



def measure(subject: Subject) -> Measured:
    """See this module's head."""
    settings: RevisitedSettings = subject.settings
    name, truth = _ground_truth(subject.data)
    jpg = subject.data / "jpg"
    queries = subject.features.embed([_query_source(jpg, truth, name)])
    database = subject.features.embed(_sources(jpg, truth.database, name))
    asked = [truth.queries[int(key.split("-")[0])] for key in queries.keys]
    rows = _rows(truth, database)
    ranking = Ranking(queries.embeddings, database.embeddings, asked, rows)
    distractors, extra = _distractors(subject, settings.distractors, ranking)
    values = _values(ranking, settings)
    named = fingerprint([data_fingerprint([queries, database], [queries.keys, database.keys]), extra, [
        [query.box, {kind: places.tolist() for kind, places in query.places.items()}] for query in truth.queries]])
    told = {metric: found for metric, found in values.items() if not np.isnan(found).all()}
    return Measured(
        metrics={metric: float(np.nanmean(found)) for metric, found in told.items()},
        intervals={metric: bootstrap_interval(found, queries.keys) for metric, found in told.items()},
        interval_over="queries", data={"dataset": name}, data_fingerprint=named,
        counts={"images": len(database.keys), "queries": len(queries.keys),
                "distractors": sum(count for count, _ in extra),
                **{f"queries_without_{level}": int(np.isnan(values[f"map_{level}"]).sum()) for level in DIFFICULTIES}},
        images=[queries, database, *distractors], items=items_table(queries.keys, queries.keys, told),
        failures=_worst(values[HEADLINE], asked, rows, queries, database, subject.failures))


def _ground_truth(data: Path) -> tuple[str, GroundTruth]:
    folder = require_folder(data)
    found = [name for name in DATASETS if (folder / f"gnd_{name}.pkl").is_file()]
    if len(found) != 1:
        raise OpenMofiError(f"{data} has {'no' if not found else 'more than one'} ground truth "
                            f"{' or '.join(f'gnd_{name}.pkl' for name in DATASETS)}.",
                            "Give the folder of one dataset, with its pickle and its images in jpg/.")
    truth = read_ground_truth(folder / f"gnd_{found[0]}.pkl")
    wanted = dict.fromkeys([*truth.database, *(query.name for query in truth.queries)])
    missing = [name for name in wanted if not (folder / "jpg" / f"{name}{ENDING}").is_file()]
    if missing:
        raise OpenMofiError(f"{len(missing):,} of {len(wanted):,} images are not in {folder / 'jpg'}, {missing[0]}"
                            f"{ENDING} for one.", "Unpack the dataset's images there, without subfolders.")
    return found[0], truth


def _sources(jpg: Path, names: list[str], name: str) -> list[ImageSource]:
    return file_sources(jpg, [f"{one}{ENDING}" for one in names], name)


def _query_source(jpg: Path, truth: GroundTruth, name: str) -> ImageSource:
    """The queries, cropped; keys are NUMBER-NAME, since an image may be asked for twice."""
    files = [f"{query.name}{ENDING}" for query in truth.queries]
    parts = file_sources(jpg, files, f"{name}-queries")

    def read() -> Iterator[tuple[str, Load]]:
        whole = (load for part in parts for _, load in part.read())
        for number, (query, load) in enumerate(zip(truth.queries, whole, strict=True)):
            yield f"{number}-{query.name}", partial(_cropped, load, query)

    boxes = [query.box for query in truth.queries]
    return ImageSource(f"{name}-queries", fingerprint([[part.stamp for part in parts], boxes]), read)


def _cropped(load: Load, query: Query) -> Pair:
    """The query's box alone, as Pillow crops it, stored without loss and the same by every version of it."""
    pair = load()
    if pair.image is None:
        return pair
    try:
        picture = decode_image(pair.image)
    except ImageRefused as refused:
        return replace(pair, status=refused.status)
    out = io.BytesIO()
    picture.crop(query.box).save(out, "BMP")
    return replace(pair, image=out.getvalue())


def _rows(truth: GroundTruth, database: EmbeddedImages) -> Ints:
    """Place in the ground truth's list → row of the embeddings, −1 for images that could not be read."""
    row = {key: number for number, key in enumerate(database.keys)}
    return np.array([row.get(f"{name}{ENDING}", -1) for name in truth.database], np.int64)


def _distractors(subject: Subject, folder: str, ranking: Ranking) -> tuple[list[EmbeddedImages], list[tuple[int, str]]]:
    """Rank them; what could not be read, and (images, fingerprint) of each part."""
    if not folder:
        return [], []
    given = require_folder(folder)
    root = given / "jpg" if (given / "jpg").is_dir() else given
    names = pictures_in(root)
    if not names:
        raise OpenMofiError(f"There are no images in {root}.", "Give a folder of distractors.")
    refused, told = [], []
    for part in subject.features.stream(file_sources(root, names, "distractors")):
        ranking.add(part.embeddings)
        told.append((len(part.keys), data_fingerprint([part], [part.keys])))
        refused.append(replace(part, shards=[], keys=[], contents=[], embeddings=part.embeddings[:0].copy()))
    return refused, told


def _values(ranking: Ranking, settings: RevisitedSettings) -> dict[str, np.ndarray]:
    """Metric → (queries,), NaN for queries without positives."""
    values: dict[str, list[float]] = {}
    for ranks in ranking.ranks():
        for level in DIFFICULTIES:
            found, positives = ranks.judged(level)
            values.setdefault(f"map_{level}", []).append(
                average_precision(found, positives) if positives else np.nan)
            for k in sorted(set(settings.precision_at)):
                values.setdefault(f"mp_at_{k}_{level}", []).append(
                    precision_at(found, k) if positives else np.nan)
    return {name: np.array(found) for name, found in sorted(values.items())}


def _worst(scores: np.ndarray, asked: list[Query], rows: Ints, queries: EmbeddedImages, database: EmbeddedImages,
           count: int) -> list[Failure]:
    """The queries of least AP (medium), with the nearest images of the database that are not junk."""
    order = [row for row in np.argsort(scores, kind="stable").tolist() if not np.isnan(scores[row])][:count]
    if not order:
        return []
    found: Floats = Index.of(database.embeddings).scores(queries.embeddings[order])
    kinds = []
    for number, row in enumerate(order):
        kinds.append({int(at): kind for kind, places in asked[row].places.items() for at in rows[places] if at >= 0})
        found[number, [at for at, kind in kinds[-1].items() if kind == "junk"]] = -np.inf
    places, near = nearest_places(found, NEIGHBOURS_SHOWN)
    return [Failure((queries.shards[row], queries.keys[row]), asked[row].name, float(scores[row]),
                    [((database.shards[at], database.keys[at]), Path(database.keys[at]).stem, float(score),
                      kinds[number].get(at) in DIFFICULTIES["medium"][0])
                     for at, score in zip(places[number].tolist(), near[number].tolist(), strict=True)
                     if np.isfinite(score)])
            for number, row in enumerate(order)]


PROTOCOL = EvaluationProtocol(
    name="revisited", version=1, headline=HEADLINE, settings=RevisitedSettings, measure=measure,
    score="average precision, medium",
    rule="A query that cannot be read is left out. A database image that cannot be read is never found, and stays "
         "among its queries' positives.",
    data="http://cmp.felk.cvut.cz/revisitop (annotation; images by the Visual Geometry Group, Oxford, from Flickr). "
         "Layout: DIR/gnd_roxford5k.pkl or DIR/gnd_rparis6k.pkl, DIR/jpg/NAME.jpg; openmofi eval sources roxford5k.")

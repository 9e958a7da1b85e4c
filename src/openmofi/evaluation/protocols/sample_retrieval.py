"""The sample world's own benchmark: images of entities that no encoder trained on the world has seen.

Every image is a query, and other artists' images of the same entity are its positives. An encoder with a text side
also names each image among the held-out entities, from the mean of the embeddings of `NAME` and `NAME: DESCRIPTION`.
The benchmark is frozen: `facts.frozen` says whether these are its images and entities, and another world's figures
compare only among themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openmofi.config import PositiveInt, Settings
from openmofi.encoders.arrays import normalised
from openmofi.errors import OpenMofiError
from openmofi.evaluation.embed import true_entities
from openmofi.evaluation.features import data_fingerprint
from openmofi.evaluation.metrics.bootstrap import bootstrap_interval
from openmofi.evaluation.metrics.ranking import Floats
from openmofi.evaluation.metrics.zero_shot import class_embeddings, evaluate_zero_shot
from openmofi.evaluation.protocol import EvaluationProtocol, Measured, Subject
from openmofi.evaluation.protocols.ranked import EXCL, rank
from openmofi.evaluation.result import items_table
from openmofi.storage import expand_shards, read_manifest

FROZEN = "0ba5770cf167b782"
"""`data.fingerprint` of the world of `openmofi sample world` with its default settings."""

TEXTS = ("{name}", "{name}: {description}")
ZERO_SHOT = "zero_shot"


@dataclass(frozen=True)
class SampleRetrievalSettings(Settings):
    """Settings of `sample-retrieval`.

    Attributes:
        recall_at: the K of recall.
    """

    recall_at: tuple[PositiveInt, ...] = (1, 5, 10)



def measure(subject: Subject) -> Measured:
    """See this module's head."""
    world = _world(subject.data)
    images = subject.features.embed(expand_shards([str(world / "retrieval")]))
    entities = true_entities(world / "truth.parquet", images)
    ranked = rank(images, entities, subject.settings.recall_at)
    domains = _domains(world, entities)
    of_domains, their_intervals = ranked.of_parts(domains)
    metrics, intervals = ranked.metrics() | of_domains, ranked.intervals() | their_intervals
    values = dict(ranked.values)
    described = _described(world, sorted(set(entities)))
    facts = {"texts": False}
    if subject.features.choice == "joint" and _has_texts(subject):
        correct = _zero_shot(subject, described, images.embeddings, entities)
        facts["texts"] = True
        metrics[ZERO_SHOT], values[ZERO_SHOT] = float(correct.mean()), correct
        intervals[ZERO_SHOT] = bootstrap_interval(correct, ranked.found.class_of)
    named = data_fingerprint([images], [entities])
    facts["frozen"] = named == FROZEN
    return Measured(
        metrics=metrics, intervals=intervals, interval_over="entities", counts=ranked.counts(), data_fingerprint=named,
        images=[images], items=items_table(ranked.items(), entities, values, domains),
        failures=ranked.worst(subject.failures, {one: name for one, (name, _) in described.items()}), facts=facts)


def _world(data: Path) -> Path:
    folder = data / "world" if (data / "world/manifest.json").is_file() else data
    if not read_manifest(folder, "world").finished:
        raise OpenMofiError(f"The sample world {folder} is not finished.", "Start `openmofi sample world` again.")
    return folder


def _has_texts(subject: Subject) -> bool:
    try:
        subject.encoder.embed_texts(["a photo"])
    except OpenMofiError:
        return False
    return True


def _zero_shot(subject: Subject, described: dict[str, tuple[str, str]], embeddings: Floats,
               entities: list[str]) -> NDArray[np.float64]:
    # The mean of both texts: encoders are trained on texts of one kind or the other.
    sides = [class_embeddings([text.format(name=name, description=description)
                               for name, description in described.values()], ["{}"], subject.encoder.embed_texts)
             for text in TEXTS]
    classes = normalised(np.mean(sides, axis=0, dtype=np.float32))
    return evaluate_zero_shot(embeddings, np.searchsorted(list(described), entities), classes).correct


def _described(world: Path, entities: list[str]) -> dict[str, tuple[str, str]]:
    """Entity → (name, description), in the order given, by the world's knowledge source."""
    path = world / "kb/entities.parquet"
    try:
        table = pq.read_table(path, columns=["id", "name", "description"])
    except (OSError, pa.ArrowException) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Build the sample world again.") from error
    rows = pc.index_in(pa.array(entities), value_set=table["id"].combine_chunks())
    if rows.null_count:
        raise OpenMofiError(f"{path} does not know the entity {entities[rows.is_null().index(True).as_py()]!r}.",
                            "Build the sample world again.")
    found = table.take(rows)
    both = zip(found["name"].to_pylist(), found["description"].to_pylist(), strict=True)
    return dict(zip(entities, both, strict=True))


def _domains(world: Path, entities: list[str]) -> list[str]:
    table = pq.read_table(world / "truth.parquet", columns=["entity", "domain"])
    known = dict(zip(table["entity"].to_pylist(), table["domain"].to_pylist(), strict=True))
    return [known[entity] for entity in entities]


PROTOCOL = EvaluationProtocol(
    name="sample-retrieval", version=1, headline=EXCL, settings=SampleRetrievalSettings, measure=measure,
    score="average precision without the query",
    rule="Images that cannot be read are neither queries nor in the index.",
    data="`openmofi sample world -o DIR` (docs/sample-world.md has the licences of its sources). Layout: "
         "DIR/retrieval, DIR/truth.parquet, DIR/kb.")

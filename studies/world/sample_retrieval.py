"""The sample world's own benchmark: images of entities that no encoder trained on the world has seen.

Every image is a query, and other artists' images of the same entity are its positives. An encoder with a text side
also classifies each image among the held-out entities, by the mean of the embeddings of `NAME` and `NAME: DESCRIPTION`.
The benchmark is frozen: `facts.frozen` says whether these are its images and entities. Results of another world compare
only with each other.

Data: `openmofi sample world -o DIR` (docs/sample-world.md has the licences of its sources). Layout: DIR/retrieval,
DIR/truth.parquet, DIR/kb.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.errors import OpenMofiError
from openmofi.evaluation.metrics.zero_shot import entity_embeddings, evaluate_zero_shot
from openmofi.evaluation.protocol import EvaluationProtocol, Measured, Subject
from openmofi.features.images import EmbeddedImages
from openmofi.plugins.protocols.labels import entities_of
from openmofi.plugins.protocols.retrieval import EXCL, SCORE, RetrievalSettings, measure_ranking
from openmofi.schema import ENTITIES, TRUTH
from openmofi.storage import expand_shards, read_manifest, read_parquet

FROZEN = "0ba5770cf167b782"
"""`data.fingerprint` of the world that `openmofi sample world` writes with its default settings."""

ZERO_SHOT = "zero_shot"


def true_entities(truth: str | Path, images: EmbeddedImages) -> list[str]:
    """The entity that each image shows; see `entities_of`.

    Raises:
        OpenMofiError: the file cannot be read, or does not know one of the images.
    """
    entity_of = entities_of(truth, images.shards)
    ids = list(zip(images.shards, images.keys, strict=True))
    absent = next((image for image in ids if image not in entity_of), None)
    if absent:
        raise OpenMofiError(
            f"{truth} does not know the image {absent[1]!r} of the shard {absent[0]!r}.",
            "Give the truth of these images.",
        )
    return [entity_of[image] for image in ids]


def measure(subject: Subject) -> Measured:
    """See the module."""
    world = _world(subject.data)
    images = subject.features.embed(expand_shards([str(world / "retrieval")]))
    entities = true_entities(world / "truth.parquet", images)
    texts = _texts(world, sorted(set(entities)))
    names = {entity: name for entity, (name, _) in texts.items()}
    further = {}
    if subject.features.choice == "joint" and subject.encoder.has_texts:
        classes = entity_embeddings(list(texts.values()), subject.encoder.embed_texts)
        labels = np.searchsorted(list(texts), entities)
        further[ZERO_SHOT] = evaluate_zero_shot(images.embeddings, labels, classes).correct
    measured = measure_ranking(
        images,
        entities,
        subject.settings.recall_at,
        subject.failures,
        parts=_domains(world, entities),
        names=names,
        further=further,
    )
    return replace(
        measured,
        interval_over="entities",
        facts={"texts": bool(further), "frozen": measured.data_fingerprint == FROZEN},
    )


def _world(data: Path) -> Path:
    folder = data / "world" if (data / "world/manifest.json").is_file() else data
    if not read_manifest(folder, "world").finished:
        raise OpenMofiError(f"The sample world {folder} is not finished.", "Run `openmofi sample world` again.")
    return folder


def _texts(world: Path, entities: list[str]) -> dict[str, tuple[str, str]]:
    """Entity → (name, description), in the order given, from the world's knowledge source."""
    path = world / "kb/entities.parquet"
    table = read_parquet(path, ENTITIES, columns=["id", "name", "description"], hint="Build the sample world again.")
    rows = pc.index_in(pa.array(entities), value_set=table["id"].combine_chunks())
    if rows.null_count:
        raise OpenMofiError(
            f"{path} lacks the entity {entities[rows.is_null().index(True).as_py()]!r}.",
            "Build the sample world again.",
        )
    names, descriptions = (table[column].take(rows).to_pylist() for column in ("name", "description"))
    return dict(zip(entities, zip(names, descriptions, strict=True), strict=True))


def _domains(world: Path, entities: list[str]) -> list[str]:
    table = read_parquet(world / "truth.parquet", TRUTH, columns=["entity", "domain"])
    domains = dict(zip(table["entity"].to_pylist(), table["domain"].to_pylist(), strict=True))
    return [domains[entity] for entity in entities]


PROTOCOL = EvaluationProtocol(
    name="sample-retrieval",
    version=1,
    headline=EXCL,
    settings=RetrievalSettings,
    measure=measure,
    score=SCORE,
    by_class=True,
    rule="Images that cannot be read are neither queries nor in the index.",
)

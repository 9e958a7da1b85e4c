"""Reinforces one shard: reads it once, augments in threads, asks the teachers, writes what they know.

A batch holds whole samples, so that an image is decoded once; its augmentations go through a teacher together. Batches
do not cross shards, so that a shard's bytes depend on it alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.dataset.tables import Folder
from openmofi.encoders import Array, Encoder
from openmofi.engine.protocol import Work
from openmofi.features.stream import ahead
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import ReadSettings
from openmofi.reinforcement.captioner import Captioner, open_captioner
from openmofi.reinforcement.entity_scores import entity_vectors, top_entities
from openmofi.reinforcement.precision import PRECISIONS, affinity_fidelity, encode
from openmofi.reinforcement.reinforce_settings import ReinforceSettings
from openmofi.reinforcement.samples import PreparedSample, labelled_pairs, prepared, with_texts
from openmofi.reinforcement.table import MEASURED, PARTS, Sample, shard_path, shard_table, write_shard
from openmofi.reinforcement.teachers import SharedBackbones, Teacher
from openmofi.storage import Shard

FIDELITY_SAMPLES = 64
"""Samples of a shard over which the stored affinities are compared with exact ones."""


@dataclass(frozen=True)
class ReinforceStage:
    """Reinforces shards; a `WorkFactory`.

    Attributes:
        labels: folder of the labels.
        kb: folder of the knowledge base, or `""`.
        out: the store.
        settings: see `ReinforceSettings`; its size is not 0.
        interpolation: filter of the augmentations.
        teachers: see `Teacher`.
        read: how the pairs were read when they were labelled.
        encoders: of the teachers.
        dataset: folder of the dataset whose rows alone are reinforced, or `""`.
    """

    labels: str
    kb: str
    out: str
    settings: ReinforceSettings
    interpolation: str
    teachers: tuple[Teacher, ...]
    read: ReadSettings
    encoders: tuple[Encoder, ...]
    dataset: str = ""

    def path(self, shard: Shard) -> str:
        """The file of the shard's knowledge."""
        return shard_path(self.out, shard.name)

    def __call__(self) -> Work:
        """Open the knowledge base and the captioner, once a worker."""
        kb = KnowledgeBase.open(self.kb) if self.kb else None
        captioner = open_captioner(self.settings.captioner) if self.settings.captioner else None
        labels = Folder.open(self.labels, "labels")
        entities: list[Array] = []
        if self.settings.entity_scores and kb is not None:
            entities = [entity_vectors(labels, kb, encoder, self.out) for encoder in self.encoders]
        return partial(_reinforce_shard, self, self.encoders, labels, kb, captioner, entities)


def _reinforce_shard(stage: ReinforceStage, encoders: Sequence[Encoder], labels: Folder, kb: KnowledgeBase | None,
                     captioner: Captioner | None, entities: Sequence[Array], shard: Shard) -> dict[str, Any]:
    settings, backbones = stage.settings, SharedBackbones(encoders)
    prepare = partial(prepared, shard=shard.name, settings=settings, interpolation=stage.interpolation,
                      backbones=backbones.preprocessing)
    pairs = labelled_pairs(shard, stage.read, labels, stage.dataset, kb, settings)
    samples: list[Sample] = []
    own_texts, known, exact = 0, 0, []
    values = [_values(stage, _nothing(stage), entities)]
    for batch in ahead(pairs, prepare, max(1, settings.batch_size // settings.augmentations)):
        items = [item for _, item in batch]
        usable = with_texts([item for item in items if item.usable], captioner, settings.captions)
        complete = iter(usable)
        samples += [next(complete).sample if item.usable else item.sample for item in items]
        if usable:
            embeddings = _embedded(backbones, usable, settings)
            values.append(_values(stage, embeddings, entities))
            if known < FIDELITY_SAMPLES:
                # As a training batch: one augmentation an image, beside the pairs' own texts.
                exact.append([(of["image"][:, 0], of["text"][:, 0]) for of in embeddings])
            known += len(usable)
        own_texts += sum(bool(item.sample.texts) and set(item.sample.texts) == {item.text} for item in usable)
    measured = json.dumps({**_fidelity(stage.teachers, exact), "own_texts": own_texts}, sort_keys=True)
    joined = {name: np.concatenate([part[name] for part in values]) for name in values[0]}
    write_shard(stage.path(shard), shard_table(samples, joined, settings, {MEASURED: measured}))
    return {"rows": len(samples)}


def _nothing(stage: ReinforceStage) -> list[dict[str, Array]]:
    """What `_embedded` gives of no samples."""
    counts = zip(PARTS, (stage.settings.augmentations, 1, stage.settings.captions), strict=True)
    shapes = {part: count for part, count in counts if count}
    return [{part: np.zeros((0, count, teacher.dim), np.float32) for part, count in shapes.items()}
            for teacher in stage.teachers]


def _embedded(backbones: SharedBackbones, usable: Sequence[PreparedSample],
              settings: ReinforceSettings) -> list[dict[str, Array]]:
    """Each teacher's embeddings of at least one sample: (m, augmentations, dim), (m, 1, dim), (m, captions, dim)."""
    pixels = {number: np.concatenate([item.pixels[number] for item in usable]) for number in backbones.preprocessing}
    parts = {"image": backbones.embed_images(pixels), "text": backbones.embed_texts([item.text for item in usable])}
    if settings.captions:
        parts["caption"] = backbones.embed_texts([text for item in usable for text in item.sample.texts])
    return [{part: vectors.reshape(len(usable), -1, vectors.shape[1]) for part, vectors in zip(parts, of, strict=True)}
            for of in zip(*parts.values(), strict=True)]


def _values(stage: ReinforceStage, embeddings: Sequence[Mapping[str, Array]],
            entities: Sequence[Array]) -> dict[str, NDArray[Any]]:
    """Columns of the shard's table, (m, values a row), from each teacher's embeddings."""
    columns: dict[str, NDArray[Any]] = {}
    for number, parts in enumerate(embeddings):
        for part, vectors in parts.items():
            codes, scales = encode(vectors, stage.settings.precision)
            columns[f"{part}_{number}"] = codes.reshape(len(codes), codes.shape[1] * codes.shape[2])
            if stage.settings.precision == "int8":
                columns[f"{part}_{number}_scale"] = scales
    for number, vectors in enumerate(entities):
        images, count = embeddings[number]["image"], stage.settings.entity_scores
        rows, shares = top_entities(images.reshape(-1, images.shape[2]), vectors, stage.teachers[number].scale, count)
        shape = len(images), images.shape[1] * count
        columns |= {f"entity_{number}": rows.reshape(shape), f"entity_score_{number}": shares.reshape(shape)}
    return columns


def _fidelity(teachers: Sequence[Teacher], exact: Sequence[Sequence[tuple[Array, Array]]]) -> dict[str, Any]:
    """What each precision does to each teacher's affinities over the batches `exact` of images and texts."""
    fidelity = {}
    for number, teacher in enumerate(teachers if exact else ()):
        image, text = (np.concatenate(side) for side in zip(*(batch[number] for batch in exact), strict=True))
        fidelity[teacher.name] = {precision: affinity_fidelity(image, text, teacher.scale, precision)
                                  for precision in PRECISIONS}
    return {"fidelity": fidelity, "fidelity_samples": sum(len(batch[0][0]) for batch in exact)}

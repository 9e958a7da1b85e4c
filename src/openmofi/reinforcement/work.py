"""Does one shard of a reinforcement: reads it once, augments in threads, asks the teachers, writes what they know.

A batch holds whole samples, so that an image is decoded once; its augmentations go through a teacher together. Batches
do not cross shards, so that a shard's bytes depend on it alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from openmofi.dataset.tables import Folder
from openmofi.encoders import Array, Encoder, Preprocessing, preprocess
from openmofi.engine.protocol import Work
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import ImageRefused, ReadSettings, decode_image, read_pairs
from openmofi.pairs.images.scaled import ScaledImage
from openmofi.reinforcement.augmentation import Augmentation, draw_augmentation, drawing, image_hash, replayed
from openmofi.reinforcement.captioner import Captioner, open_captioner
from openmofi.reinforcement.captions import accepted_entities, entity_captions
from openmofi.reinforcement.entity_scores import Scores, entity_vectors, top_entities
from openmofi.reinforcement.precision import PRECISIONS, Codes, affinity_fidelity, encode
from openmofi.reinforcement.settings import ReinforceSettings
from openmofi.reinforcement.table import PARTS, TOLD, Sample, StoreStatus, shard_table, write_shard
from openmofi.reinforcement.teachers import Teacher
from openmofi.schema import Entity, LabelStatus, Pair, PairStatus
from openmofi.storage import Shard

FIDELITY_SAMPLES = 64
"""Samples of a shard over which the stored affinities are compared with exact ones."""

_DECODERS = 2
_AHEAD = 2
_CAPTION = -1  # the number of the draw for texts; augmentations have 0, 1, …


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
        """Where the shard's knowledge is kept."""
        return shard_path(self.out, shard.name)

    def __call__(self) -> Work:
        """Open what is heavy, once a worker."""
        kb = KnowledgeBase.open(self.kb) if self.kb else None
        captioner = open_captioner(self.settings.captioner) if self.settings.captioner else None
        labels = Folder.open(self.labels, "labels")
        entities: list[Array] = []
        if self.settings.entity_scores and kb is not None:
            entities = [entity_vectors(labels, kb, encoder, self.out) for encoder in self.encoders]
        return partial(_reinforce_shard, self, self.encoders, labels, kb, captioner, entities)


def shard_path(store: object, name: str) -> str:
    """Where a store keeps a shard's knowledge."""
    return f"{store}/samples/{name}.arrow"


@dataclass(frozen=True)
class _Asked:
    """A pair, and what is wanted of it; `texts` are empty where a captioner writes them."""

    pair: Pair
    status: PairStatus | StoreStatus
    text: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class _Prepared:
    """A sample before the teachers see it; `pixels`: teacher's number → (augmentations, 3, size, size) float32."""

    sample: Sample
    own: str = ""
    pixels: Mapping[int, Array] = field(default_factory=dict)
    whole: Image.Image | None = None


@dataclass
class _Written:
    """What a shard's file will hold; embeddings by column, one element a batch."""

    samples: list[Sample] = field(default_factory=list)
    codes: dict[str, list[tuple[Codes, Array]]] = field(default_factory=dict)
    exact: dict[str, list[Array]] = field(default_factory=dict)
    known: int = 0
    own_texts: int = 0
    entities: dict[int, list[Scores]] = field(default_factory=dict)


def _reinforce_shard(stage: ReinforceStage, encoders: Sequence[Encoder], labels: Folder, kb: KnowledgeBase | None,
                     captioner: Captioner | None, entities: Sequence[Array], shard: Shard) -> dict[str, Any]:
    written = _Written()
    eyes = _eyes(encoders)
    views = {number: _whole_square(stage.teachers[number].preprocessing) for number in sorted(set(eyes))}
    texts = {number: _TextFeatures(encoders[number]) for number in views}
    prepare = partial(_prepared, stage, shard, views, captioner is not None)
    samples_at_once = max(1, stage.settings.batch_size // stage.settings.augmentations)
    with ThreadPoolExecutor(_DECODERS) as pool:
        for batch in _batches(_asked(stage, labels, kb, shard, captioner is None), prepare, pool, samples_at_once):
            usable = _with_texts([item for item in batch if item.sample.status == PairStatus.OK], captioner,
                                 stage.settings.captions, written)
            done = iter(usable)
            written.samples += [next(done).sample if item.sample.status == PairStatus.OK else item.sample
                                for item in batch]
            features = {number: encoders[number].image_features(
                np.concatenate([item.pixels[number] for item in usable])) for number in views if usable}
            for number, encoder in enumerate(encoders):
                found = _embedded(encoder, texts[eyes[number]], usable, features.get(eyes[number]), stage.settings)
                _keep(written, found, number, stage.settings.precision)
                if entities:
                    _score(stage, written, found["image"], number, entities[number])
            written.known += len(usable)
    write_shard(stage.path(shard), _table(stage, written))
    return {"rows": len(written.samples)}


def _eyes(encoders: Sequence[Encoder]) -> list[int]:
    """For each teacher the first that sees and reads as it does: heads over one backbone need its features once."""
    seen = [(encoder.feature_fingerprint, encoder.preprocessing) for encoder in encoders]
    return [seen.index(one) for one in seen]


def _asked(stage: ReinforceStage, labels: Folder, kb: KnowledgeBase | None, shard: Shard,
           write_texts: bool) -> Iterator[_Asked]:
    """The shard's pairs beside their labels, in order.

    Raises:
        OpenMofiError: the shard has other rows than its labels.
    """
    table = labels.read(shard, ["key", "text", "status", "mentions", "entities"])
    entities: list[list[Entity]] = accepted_entities(table, kb)
    wanted = _wanted(stage, shard)
    rows = zip(*(table.column(name).to_pylist() for name in ("key", "status", "text")), entities, strict=True)
    for pair, row in zip(chain(read_pairs(shard, stage.read), [None]), chain(rows, [None]), strict=False):
        if pair is None and row is None:
            return
        if pair is None or row is None or pair.key != row[0]:
            raise OpenMofiError(f"The rows of {shard.path} are not those of its labels.",
                                "It has changed since it was labelled: label it again.")
        key, status, text, shown = row
        usable = status in tuple(LabelStatus)
        draw = drawing(stage.settings.seed, shard.name, key, _CAPTION)
        written = entity_captions(shown, stage.settings.captions, draw) if usable and write_texts else []
        found = PairStatus.OK if usable else PairStatus(status)
        left_out = usable and wanted is not None and key not in wanted
        yield _Asked(pair, StoreStatus.NOT_IN_DATASET if left_out else found, text, tuple(written))


def _wanted(stage: ReinforceStage, shard: Shard) -> frozenset[str] | None:
    """Keys of the shard's rows that the dataset has; `None` wants all."""
    if not stage.dataset:
        return None
    return frozenset(Folder.open(stage.dataset, "dataset").read(shard, ["key"])["key"].to_pylist())


def _batches(rows: Iterator[_Asked], prepare: Any, pool: ThreadPoolExecutor, size: int) -> Iterator[list[_Prepared]]:
    """Batches in order, the next ones being made while one is embedded."""
    waiting: list[list[Future[_Prepared]]] = []
    while batch := list(islice(rows, size)):
        waiting.append([pool.submit(prepare, row) for row in batch])
        if len(waiting) > _AHEAD:
            yield [future.result() for future in waiting.pop(0)]
    for futures in waiting:
        yield [future.result() for future in futures]


def _prepared(stage: ReinforceStage, shard: Shard, views: Mapping[int, Preprocessing], keep_whole: bool,
              asked: _Asked) -> _Prepared:
    """Draw and make a sample's augmentations."""
    pair, settings = asked.pair, stage.settings
    if asked.status != PairStatus.OK:
        return _Prepared(Sample(pair.key, asked.status))
    if pair.image is None:
        return _Prepared(Sample(pair.key, PairStatus.IMAGE_MISSING))
    drawn: list[Augmentation] = []
    pictures: list[Image.Image] = []
    try:
        image = ScaledImage.of(pair.image)
        for number in range(settings.augmentations):
            draw = drawing(settings.seed, shard.name, pair.key, number)
            drawn.append(draw_augmentation(settings.augment, draw, image.width, image.height))
            pictures.append(replayed(image, drawn[-1], settings.size, stage.interpolation))
        whole = decode_image(pair.image, size_hint=settings.size) if keep_whole else None
    except ImageRefused as refused:
        return _Prepared(Sample(pair.key, refused.status))
    sample = Sample(pair.key, PairStatus.OK, image.width, image.height, image_hash(pair.image), tuple(drawn),
                    asked.texts)
    pixels = {number: np.stack([preprocess(picture, view) for picture in pictures])
              for number, view in views.items()}
    return _Prepared(sample, asked.text, pixels, whole)


def _whole_square(preprocessing: Preprocessing) -> Preprocessing:
    """A teacher sees all of an augmentation: what its own crop cuts off was drawn to be seen."""
    return replace(preprocessing, resize="squash", resize_size=0)


def _with_texts(usable: Sequence[_Prepared], captioner: Captioner | None, count: int,
                written: _Written) -> list[_Prepared]:
    """The samples with as many synthetic texts as the store has; where there is none, the pair's own stands in."""
    texts: Iterable[Sequence[str]] = (item.sample.texts for item in usable)
    if captioner and count:
        texts = captioner.caption([item.whole for item in usable if item.whole is not None], count)
    made = []
    for item, found in zip(usable, texts, strict=True):
        whole = tuple(text or item.own for text in found) or (item.own,) * count
        written.own_texts += bool(count) and all(text == item.own for text in whole)
        made.append(replace(item, sample=replace(item.sample, texts=whole)))
    return made


class _TextFeatures:
    """Features of texts, each distinct one of a shard read once: entities' texts come again and again."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[str, Array] = {}

    def of(self, texts: Sequence[str]) -> Array:
        """(n, text_feature_dim) float32; n is not 0."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self._encoder.text_features(new), strict=True))
        return np.stack([self._known[text] for text in texts])


def _embedded(encoder: Encoder, texts: _TextFeatures, usable: Sequence[_Prepared],
              features: Array | None, settings: ReinforceSettings) -> dict[str, Array]:
    """What a teacher says of a batch: (m, augmentations, dim), (m, 1, dim), (m, captions, dim).

    `features` are of all augmentations, (m × augmentations, feature_dim); `None` of an empty batch.
    """
    count, dim = len(usable), encoder.dim
    shapes = {"image": settings.augmentations, "text": 1, "caption": settings.captions}
    found: dict[str, Array] = {part: np.zeros((count, each, dim), np.float32) for part, each in shapes.items()}
    if features is not None:
        found["image"] = encoder.project_images(features).reshape(found["image"].shape)
        written = {"text": [item.own for item in usable],
                   "caption": [text for item in usable for text in item.sample.texts]}
        found |= {part: encoder.project_texts(texts.of(listed)).reshape(found[part].shape)
                  for part, listed in written.items() if listed}
    return found


def _keep(written: _Written, found: dict[str, Array], number: int, precision: str) -> None:
    for part in PARTS:
        written.codes.setdefault(f"{part}_{number}", []).append(encode(found[part], precision))
    if written.known < FIDELITY_SAMPLES:
        for part in ("image", "text"):
            # As a training batch: one augmentation an image, beside the pairs' own texts.
            written.exact.setdefault(f"{part}_{number}", []).append(found[part][:, 0])


def _score(stage: ReinforceStage, written: _Written, images: Array, number: int, entities: Array) -> None:
    """Keep the likeliest entities of a batch's augmentations, (m, augmentations, dim)."""
    count = stage.settings.entity_scores
    found = top_entities(images.reshape(-1, images.shape[2]), entities, stage.teachers[number].scale, count)
    shape = len(images), images.shape[1] * count
    written.entities.setdefault(number, []).append((found[0].reshape(shape), found[1].reshape(shape)))


def _table(stage: ReinforceStage, written: _Written) -> pa.RecordBatch:
    embeddings = {}
    counts = (stage.settings.augmentations, 1, stage.settings.captions)
    for number, teacher in enumerate(stage.teachers):
        for part, vectors in [(part, count) for part, count in zip(PARTS, counts, strict=True) if count]:
            empty = encode(np.zeros((0, vectors, teacher.dim), np.float32), stage.settings.precision)
            codes, scales = zip(*[empty, *written.codes.get(f"{part}_{number}", [])], strict=True)
            joined = np.concatenate(codes)
            embeddings[f"{part}_{number}"] = (joined.reshape(len(joined), vectors * teacher.dim),
                                              np.concatenate(scales))
    samples = sum(len(part) for part in written.exact.get("text_0", []))
    fidelity = {teacher.name: {precision: _fidelity(written, number, teacher.scale, precision)
                               for precision in PRECISIONS}
                for number, teacher in enumerate(stage.teachers)} if samples else {}
    told = {"fidelity": fidelity, "fidelity_samples": samples, "own_texts": written.own_texts}
    return shard_table(written.samples, embeddings, stage.settings, {TOLD: json.dumps(told, sort_keys=True)},
                       _entities(stage, written))


def _entities(stage: ReinforceStage, written: _Written) -> list[Scores]:
    width = stage.settings.augmentations * stage.settings.entity_scores
    empty: Scores = np.zeros((0, width), np.int32), np.zeros((0, width), np.float16)
    found = []
    for number in range(len(stage.teachers) if width else 0):
        likeliest, scores = zip(*[empty, *written.entities.get(number, [])], strict=True)
        found.append((np.concatenate(likeliest), np.concatenate(scores)))
    return found


def _fidelity(written: _Written, number: int, scale: float, precision: str) -> dict[str, float]:
    image, text = (np.concatenate(written.exact[f"{part}_{number}"]) for part in ("image", "text"))
    return affinity_fidelity(image, text, scale, precision)

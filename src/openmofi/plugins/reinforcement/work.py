"""Reinforce one shard: read it once, augment in threads, ask the teachers, write what they know.

A batch holds whole samples, so that an image is decoded once; its augmentations go through a teacher together. A
shard's texts are read after its images. Batches do not cross shards, so that a shard's bytes depend on it alone.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from openmofi.arrays import Array
from openmofi.dataset.tables import Folder
from openmofi.encoders import Encoder, Preprocessing, preprocess
from openmofi.engine.protocol import Work
from openmofi.errors import OpenMofiError
from openmofi.features.stream import ahead
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import ImageRefused, ReadSettings, decode_image, read_pairs
from openmofi.pairs.images.scaled import ScaledImage
from openmofi.plugins.reinforcement.augmentation import draw_augmentation, drawing, image_hash
from openmofi.plugins.reinforcement.captioner import Captioner, accepted_entities, entity_captions, open_captioners
from openmofi.plugins.reinforcement.reinforce_settings import ReinforceSettings
from openmofi.plugins.reinforcement.table import (
    MEASURED,
    PARTS,
    PRECISIONS,
    StoredSample,
    StoreStatus,
    affinity_fidelity,
    encode,
    shard_path,
    shard_table,
    write_shard,
)
from openmofi.plugins.reinforcement.teachers import SharedBackbones, Teacher, entity_vectors, top_entities
from openmofi.schema import LabelStatus, Pair, PairStatus
from openmofi.storage import Shard

_CAPTION = -1  # the number of the draw for texts; augmentations have 0, 1, …


@dataclass(frozen=True)
class LabelledPair:
    """A pair beside its label.

    Attributes:
        pair: see there.
        status: `ok` where it is to be reinforced.
        text: the pair's own.
        texts: synthetic ones; empty where there are none, or where a captioner writes them.
    """

    pair: Pair
    status: PairStatus | StoreStatus
    text: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class PreparedSample:
    """A sample before the teachers see it; where its status is not `ok`, it is all that there is.

    Attributes:
        sample: without final texts.
        text: the pair's own.
        pixels: backbone → (augmentations, 3, size, size) float32.
        whole: the image for a captioner.
    """

    sample: StoredSample
    text: str = ""
    pixels: Mapping[int, Array] = field(default_factory=dict)
    whole: Image.Image | None = None

    @property
    def usable(self) -> bool:
        """Whether the teachers see it."""
        return self.sample.status == PairStatus.OK


def labelled_pairs(
    shard: Shard,
    read: ReadSettings,
    labels: Folder,
    dataset: str,
    kb: KnowledgeBase | None,
    settings: ReinforceSettings,
) -> Iterator[LabelledPair]:
    """Yield the shard's pairs with their labels, in order.

    Args:
        shard, read: the pairs, and how they were read when they were labelled.
        labels: their labels.
        dataset: folder of the dataset whose rows alone are reinforced, or `""`.
        kb: describes the entities in synthetic texts.
        settings: see there.

    Raises:
        OpenMofiError: the shard has other rows than its labels.
    """
    table = labels.read(shard, ["key", "text", "status", "mentions", "entities"])
    included = Folder.open(dataset, "dataset").read(shard, ["key"])["key"].to_pylist() if dataset else ()
    keys = frozenset(included)
    rows = zip(
        *(table.column(name).to_pylist() for name in ("key", "status", "text")),
        accepted_entities(table, kb),
        strict=True,
    )
    for pair, row in zip(chain(read_pairs(shard, read), [None]), chain(rows, [None]), strict=False):
        if pair is None and row is None:
            return
        if pair is None or row is None or pair.key != row[0]:
            raise OpenMofiError(
                f"The rows of {shard.path} differ from those of its labels.",
                "It has changed since it was labelled: label it again.",
            )
        key, status, text, entities = row
        if status not in tuple(LabelStatus):
            yield LabelledPair(pair, PairStatus(status), text, ())
        elif dataset and key not in keys:
            yield LabelledPair(pair, StoreStatus.NOT_IN_DATASET, text, ())
        else:
            draw = drawing(settings.seed, shard.name, key, _CAPTION)
            texts = () if settings.captioner else tuple(entity_captions(entities, settings.captions, draw))
            yield LabelledPair(pair, PairStatus.OK, text, texts)


def prepared(
    labelled: LabelledPair,
    shard: str,
    settings: ReinforceSettings,
    interpolation: str,
    backbones: Mapping[int, Preprocessing],
) -> PreparedSample:
    """Draw a sample's augmentations and preprocess them for each backbone; thread-safe."""
    pair = labelled.pair
    if labelled.status != PairStatus.OK:
        return PreparedSample(StoredSample(pair.key, labelled.status))
    if pair.image is None:
        return PreparedSample(StoredSample(pair.key, PairStatus.IMAGE_MISSING))
    try:
        with ScaledImage.opened(pair.image) as image:
            drawn = tuple(
                draw_augmentation(
                    settings.augment, drawing(settings.seed, shard, pair.key, number), image.width, image.height
                )
                for number in range(settings.augmentations)
            )
            images = [augmentation.replayed(image, settings.size, interpolation) for augmentation in drawn]
        whole = decode_image(pair.image, size_hint=settings.size) if settings.captioner else None
    except ImageRefused as refused:
        return PreparedSample(StoredSample(pair.key, refused.status))
    sample = StoredSample(
        pair.key, PairStatus.OK, image.width, image.height, image_hash(pair.image), drawn, labelled.texts
    )
    pixels = {
        number: np.stack([preprocess(image, preprocessing) for image in images])
        for number, preprocessing in backbones.items()
    }
    return PreparedSample(sample, labelled.text, pixels, whole)


def with_texts(usable: Sequence[PreparedSample], captioner: Captioner | None, count: int) -> list[PreparedSample]:
    """Give each sample `count` synthetic texts; the pair's own text stands in for missing ones."""
    texts: Sequence[Sequence[str]] = [item.sample.texts for item in usable]
    if captioner and count:
        texts = captioner([item.whole for item in usable if item.whole is not None], count)
    return [
        replace(
            item,
            sample=replace(item.sample, texts=tuple(text or item.text for text in written) or (item.text,) * count),
        )
        for item, written in zip(usable, texts, strict=True)
    ]


_PORTION = 4096
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
        """Return the path of the shard's knowledge."""
        return shard_path(self.out, shard.name)

    def __call__(self) -> Work:
        """Open the knowledge base and the captioner, once a worker."""
        kb = KnowledgeBase.open(self.kb) if self.kb else None
        device = self.encoders[0].device
        captioner = open_captioners(self.settings.captioner, device) if self.settings.captioner else None
        labels = Folder.open(self.labels, "labels")
        entities: list[Array] = []
        if self.settings.entity_scores and kb is not None:
            entities = [entity_vectors(labels, kb, encoder, self.out) for encoder in self.encoders]
        return partial(_reinforce_shard, self, self.encoders, labels, kb, captioner, entities)


def _reinforce_shard(
    stage: ReinforceStage,
    encoders: Sequence[Encoder],
    labels: Folder,
    kb: KnowledgeBase | None,
    captioner: Captioner | None,
    entities: Sequence[Array],
    shard: Shard,
) -> dict[str, Any]:
    settings, backbones = stage.settings, SharedBackbones(encoders)
    prepare = partial(
        prepared,
        shard=shard.name,
        settings=settings,
        interpolation=stage.interpolation,
        backbones=backbones.preprocessing,
    )
    pairs = labelled_pairs(shard, stage.read, labels, stage.dataset, kb, settings)
    samples: list[StoredSample] = []
    own_texts: list[str] = []
    exact: list[list[Array]] = []
    values = [_values(stage, _nothing(stage), entities)]
    for batch in ahead(pairs, prepare, max(1, settings.batch_size // settings.augmentations)):
        items = [item for _, item in batch]
        usable = with_texts([item for item in items if item.usable], captioner, settings.captions)
        complete = iter(usable)
        samples += [next(complete).sample if item.usable else item.sample for item in items]
        if usable:
            images = _images(backbones, usable)
            values.append(_values(stage, [{"image": of_teacher} for of_teacher in images], entities))
            if len(own_texts) < FIDELITY_SAMPLES:
                # As a training batch: one augmentation an image, beside the pairs' own texts.
                exact.append([of_teacher[:, 0] for of_teacher in images])
            own_texts += [item.text for item in usable]
    ok_samples = [sample for sample in samples if sample.status == PairStatus.OK]
    values += [
        _values(stage, parts, ()) for parts in _texts(backbones, own_texts, [sample.texts for sample in ok_samples])
    ]
    measured = json.dumps(
        {
            **_fidelity(stage.teachers, exact, backbones, own_texts),
            "own_texts": sum(set(sample.texts) == {text} for sample, text in zip(ok_samples, own_texts, strict=True)),
        },
        sort_keys=True,
    )
    joined = {name: np.concatenate([part[name] for part in values if name in part]) for name in values[0]}
    write_shard(stage.path(shard), shard_table(samples, joined, settings, {MEASURED: measured}))
    return {"rows": len(samples)}


def _nothing(stage: ReinforceStage) -> list[dict[str, Array]]:
    """Return each teacher's embeddings of no samples."""
    counts = zip(PARTS, (stage.settings.augmentations, 1, stage.settings.captions), strict=True)
    shapes = {part: count for part, count in counts if count}
    return [
        {part: np.zeros((0, count, teacher.dim), np.float32) for part, count in shapes.items()}
        for teacher in stage.teachers
    ]


def _images(backbones: SharedBackbones, usable: Sequence[PreparedSample]) -> list[Array]:
    """Each teacher's embeddings of at least one sample's augmentations, (m, augmentations, dim)."""
    pixels = {number: np.concatenate([item.pixels[number] for item in usable]) for number in backbones.preprocessing}
    return [vectors.reshape(len(usable), -1, vectors.shape[1]) for vectors in backbones.embed_images(pixels)]


def _texts(
    backbones: SharedBackbones, own_texts: Sequence[str], captions: Sequence[Sequence[str]]
) -> Iterator[list[dict[str, Array]]]:
    """Each teacher's embeddings of own and synthetic texts, (m, 1, dim) and (m, captions, dim), in portions of samples.

    All texts of a shard are read at once: batches of texts of one length hold little padding.
    """
    everything = [*own_texts, *(text for texts in captions for text in texts)]
    if everything:
        backbones.read(everything)
    for start in range(0, len(own_texts), _PORTION):
        part = slice(start, start + _PORTION)
        parts = {"text": backbones.embed_texts(own_texts[part])}
        if captions[0]:
            parts["caption"] = backbones.embed_texts([text for texts in captions[part] for text in texts])
        yield [
            {
                name: vectors.reshape(len(own_texts[part]), -1, vectors.shape[1])
                for name, vectors in zip(parts, of_teacher, strict=True)
            }
            for of_teacher in zip(*parts.values(), strict=True)
        ]


def _values(
    stage: ReinforceStage, embeddings: Sequence[Mapping[str, Array]], entities: Sequence[Array]
) -> dict[str, NDArray[Any]]:
    """Make columns of the shard's table, (m, values a row), from each teacher's embeddings."""
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


def _fidelity(
    teachers: Sequence[Teacher], exact: Sequence[Sequence[Array]], backbones: SharedBackbones, own_texts: Sequence[str]
) -> dict[str, Any]:
    """What each precision does to each teacher's affinities over the batches `exact` of images, beside their texts."""
    count = sum(len(batch[0]) for batch in exact)
    texts = backbones.embed_texts(own_texts[:count]) if count else []
    fidelity = {}
    for number, text in enumerate(texts):
        image = np.concatenate([batch[number] for batch in exact])
        fidelity[teachers[number].name] = {
            precision: affinity_fidelity(image, text, teachers[number].scale, precision) for precision in PRECISIONS
        }
    return {"fidelity": fidelity, "fidelity_samples": count}

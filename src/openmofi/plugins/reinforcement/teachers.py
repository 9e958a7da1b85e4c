"""Teachers: encoders whose knowledge of a dataset is stored, each with its own scale; the entities that they see."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from scipy.special import logsumexp

from openmofi.arrays import Array, Codes, Halves
from openmofi.dataset.tables import Folder, Judged
from openmofi.encoders import Encoder, Preprocessing, open_encoder
from openmofi.encoders.probe import FittedScale, fit_scale
from openmofi.engine import Engine, LocalEngine, Progress, Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.features.entities import embed_entities
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.texts import DEFAULT_TEMPLATE
from openmofi.pairs import ImageRefused, decode_image, read_pairs
from openmofi.plugins.reinforcement.reinforce_settings import TeacherSpec
from openmofi.schema import PairStatus
from openmofi.storage import Shard, read_parquet, write_table

LEAST_SCALE = 5.0
"""A teacher with a smaller scale is refused: softmax(1.0 · cosines) is nearly uniform over any batch, and a student
silently learns nothing from it. Trained image–text encoders have scales of 20 to 100."""

_TUNE = "Find it on held-out pairs with: openmofi reinforce PAIRS --teachers {spec} --tune-scale"


@dataclass(frozen=True)
class Teacher:
    """A teacher of a store.

    Attributes:
        name: unique in the store; the last parts of its spec.
        spec: see `openmofi.encoders.open_encoder`.
        dim: of its embeddings.
        scale: the factor s on cosines in softmax(s · Ψ_image Ψ_textᵀ) (MobileCLIP, arXiv 2311.17049, eq. 2).
        preprocessing: of its images; it saw the store's augmentations, squashed to its size.
        fingerprint: of its weights and preprocessing.
    """

    name: str
    spec: str
    dim: int
    scale: float
    preprocessing: Preprocessing
    fingerprint: str = ""


def parse_teachers(text: str) -> tuple[TeacherSpec, ...]:
    """Parse `run:a/b:100,hf:x:50`: commas separate teachers, the last colon a spec from its scale.

    Raises:
        UsageError: no teacher, a repeated one, or one without a finite scale of at least `LEAST_SCALE`.
    """
    specs = []
    for part in _parts(text):
        spec, colon, last = part.rpartition(":")
        scale = _number(last) if colon else None
        if scale is None:
            raise UsageError(
                f"The teacher {part!r} has no scale, which its softmax over similarities needs.",
                f"Write SPEC:SCALE. {_TUNE.format(spec=part)}",
            )
        if not math.isfinite(scale) or scale < LEAST_SCALE:
            raise UsageError(
                f"The scale of the teacher {spec!r} is {last}; it must be finite and at least "
                f"{LEAST_SCALE:g}, or the teacher is near uniform.",
                _TUNE.format(spec=spec),
            )
        specs.append(TeacherSpec(spec, scale))
    return tuple(specs)


def parse_specs(text: str) -> tuple[str, ...]:
    """Parse the specs of teachers with or without scales.

    Raises:
        UsageError: no teacher, or a repeated one.
    """
    return tuple(
        part.rpartition(":")[0] if _number(part.rpartition(":")[2]) is not None else part for part in _parts(text)
    )


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UsageError(f"{text!r} does not name teachers.", "Write SPEC:SCALE[,SPEC:SCALE…].")
    if len(set(parts)) < len(parts):
        raise UsageError(f"{text!r} names a teacher twice.", "Name each once.")
    return parts


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def open_teachers(
    chosen: Sequence[TeacherSpec], device: str = "cpu", precision: str = "fp32"
) -> tuple[tuple[Teacher, ...], tuple[Encoder, ...]]:
    """Open the encoders and describe them as teachers.

    Args:
        chosen: specs and scales.
        device, precision: see `openmofi.encoders.open_encoder`.

    Raises:
        UsageError: the device does not exist, or a teacher cannot run in the precision.
        OpenMofiError: an encoder cannot be opened, or it has no joint space of images and texts.
    """
    teachers: list[Teacher] = []
    encoders: list[Encoder] = []
    for choice in chosen:
        bases = [encoder.heads.base for encoder in encoders if encoder.heads]
        encoder = open_encoder(choice.spec, device=device, precision=precision, bases=bases)
        encoder.require_comparison()
        name = _name(choice.spec, [teacher.name for teacher in teachers])
        teachers.append(
            Teacher(name, choice.spec, encoder.dim, choice.scale, encoder.preprocessing, encoder.fingerprint)
        )
        encoders.append(encoder)
    return tuple(teachers), tuple(encoders)


def whole_square(preprocessing: Preprocessing) -> Preprocessing:
    """Return a teacher's preprocessing without its crop, which would cut off what was drawn: images are squashed."""
    return replace(preprocessing, resize="squash", resize_size=0)


class SharedBackbones:
    """Embeds for several encoders; those over one backbone share its features, which are computed once.

    The features of each distinct text are kept: texts of entities recur.

    Attributes:
        preprocessing: backbone, numbered by the first encoder over it → how its images are made, see `whole_square`.
    """

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        keys = [(encoder.feature_fingerprint, encoder.preprocessing) for encoder in encoders]
        self._encoders = [(encoder, keys.index(key)) for encoder, key in zip(encoders, keys, strict=True)]
        self.preprocessing = {
            backbone: whole_square(encoders[backbone].preprocessing)
            for backbone in sorted({backbone for _, backbone in self._encoders})
        }
        self._texts: dict[int, dict[str, Array]] = {backbone: {} for backbone in self.preprocessing}

    def embed_images(self, pixels: Mapping[int, Array]) -> list[Array]:
        """Backbone → (n, 3, size, size) float32; each encoder's (n, dim) float32, L2-normalised. n is not 0."""
        features = {backbone: self._encoders[backbone][0].image_features(values) for backbone, values in pixels.items()}
        return [encoder.project_images(features[backbone]) for encoder, backbone in self._encoders]

    def read(self, texts: Sequence[str]) -> None:
        """Keep the features of these texts, for `embed_texts`; those of one call are computed together."""
        for backbone, features in self._texts.items():
            if new := [text for text in dict.fromkeys(texts) if text not in features]:
                features.update(zip(new, self._encoders[backbone][0].text_features(new), strict=True))

    def embed_texts(self, texts: Sequence[str]) -> list[Array]:
        """Each encoder's (n, dim) float32, L2-normalised; n is not 0."""
        self.read(texts)
        return [
            encoder.project_texts(np.stack([self._texts[backbone][text] for text in texts]))
            for encoder, backbone in self._encoders
        ]


def _name(spec: str, taken: Sequence[str]) -> str:
    parts = [part for part in spec.rpartition(":")[2].split("/") if part not in ("", ".", "..")]
    name = "-".join(parts[-2:]) or "teacher"
    return next(unique for unique in chain([name], (f"{name}-{number}" for number in count(2))) if unique not in taken)


# Encoders are saved without the head that they were trained with, so that a teacher knows an entity by its text, as in
# the label job.

ENTITIES_FILE = "entities.parquet"
"""Of a store with entity scores: the column `id`, sorted; a stored entity is a row of it."""

_ENTITIES = pa.schema([("id", pa.string())])
Scores = tuple[Codes, Halves]


def accepted_ids(labels: Folder, count: int) -> list[str]:
    """Return the sorted identifiers of the entities that the labels of any shard accept.

    Raises:
        UsageError: there are fewer than `count`.
        OpenMofiError: a label file cannot be read.
    """
    ids: set[str] = set()
    for shard in labels.shards:
        judged = Judged.of(labels.read(shard, ["mentions", "entities"]))
        ids.update(judged.entity.filter(pa.array(judged.accepted)).to_pylist())
    if len(ids) < count:
        raise UsageError(
            f"{labels.path} accepts {len(ids)} entities, fewer than --entity-scores {count}.",
            f"Set --entity-scores to {len(ids)} at most.",
        )
    return sorted(ids)


def prepare_entities(
    ids: Sequence[str],
    labels: Folder,
    kb: KnowledgeBase,
    encoders: Sequence[Encoder],
    out: str | Path,
    engine: Engine,
    progress: Progress,
) -> None:
    """Write `ENTITIES_FILE`, and embed the entities' texts into `OUT/entities`, which workers read.

    Raises:
        OpenMofiError: a file cannot be written.
    """
    write_table(f"{out}/{ENTITIES_FILE}", pa.table({"id": ids}, _ENTITIES))
    for encoder in encoders:
        embed_entities(kb, encoder, ids, entity_template(labels), out, engine, progress)


def entity_template(labels: Folder) -> str:
    """Return the label job's template of entity texts."""
    return str(labels.manifest.settings.get("selection", {}).get("template", DEFAULT_TEMPLATE))


def read_entities(store: str | Path) -> tuple[str, ...]:
    """Read the identifiers of the entities that a store has scores of.

    Raises:
        OpenMofiError: the file is missing or damaged.
    """
    table = read_parquet(f"{store}/{ENTITIES_FILE}", _ENTITIES, hint="Remove the store and make it again.")
    return tuple(table["id"].to_pylist())


def entity_vectors(labels: Folder, kb: KnowledgeBase, encoder: Encoder, out: str | Path) -> Array:
    """Return (C, dim) float32, L2-normalised embeddings of the entities' texts, from `prepare_entities`."""
    embedded = embed_entities(kb, encoder, read_entities(out), entity_template(labels), out, LocalEngine(), Quiet())
    return encoder.project_texts(embedded.features)


def top_entities(images: Array, entities: Array, scale: float, count: int) -> Scores:
    """Return a teacher's likeliest entities and their probabilities.

    Args:
        images: (n, dim) float32, L2-normalised.
        entities: (C, dim), likewise; C ≥ `count`.
        scale: the teacher's factor on cosines.
        count: entities kept.

    Returns:
        (n, count) int32 rows of `entities`, by falling probability, equal ones by row; and (n, count) float16: their
        softmax(scale · images · entitiesᵀ) over all C.
    """
    logits = scale * (images @ entities.T)
    # In order of the rows first, so that the stable sort keeps that order among equals.
    rows = np.sort(np.argpartition(-logits, count - 1, axis=1)[:, :count], axis=1)
    top_logits = np.take_along_axis(logits, rows, axis=1)
    order = np.argsort(-top_logits, axis=1, kind="stable")
    share = np.exp(np.take_along_axis(top_logits, order, axis=1) - logsumexp(logits, axis=1, keepdims=True))
    return np.take_along_axis(rows, order, axis=1).astype(np.int32), share.astype(np.float16)


_LEAST_PAIRS = 16
_FORWARD = 64


def tune_scale(
    shards: Sequence[Shard],
    spec: str,
    *,
    pairs: int = 4096,
    batch: int = 256,
    seed: int = 0,
    device: str = "cpu",
) -> FittedScale:
    """Find a teacher's scale on pairs that it was not trained on.

    Args:
        shards: of held-out pairs; the first `pairs` usable ones of distinct texts are taken, since of two pairs of
            one text neither is wrong for the other.
        spec: the teacher.
        pairs: how many, at most.
        batch: pairs a softmax runs over.
        seed: of the batches.
        device: where the teacher works, see `openmofi.encoders.open_encoder`.

    Raises:
        OpenMofiError: too few pairs can be used, or the encoder cannot compare images with texts.
    """
    encoder = open_encoder(spec, device=device)
    encoder.require_comparison()
    image_parts, text_parts = [], []
    usable = islice(_usable(shards), pairs)
    while portion := list(islice(usable, _FORWARD)):
        pixels = np.stack([encoder.preprocess(image) for image, _ in portion])
        image_parts.append(encoder.project_images(encoder.image_features(pixels)))
        text_parts.append(encoder.embed_texts([text for _, text in portion]))
    count = sum(map(len, image_parts))
    if count < _LEAST_PAIRS:
        raise OpenMofiError(
            f"{count} pairs of distinct texts can be used; a scale needs {_LEAST_PAIRS}.", "Give more held-out pairs."
        )
    return fit_scale(np.concatenate(image_parts), np.concatenate(text_parts), batch=batch, seed=seed)


def _usable(shards: Sequence[Shard]) -> Iterator[tuple[Image.Image, str]]:
    """Yield images and texts of usable pairs, of distinct texts."""
    seen: set[str] = set()
    for pair in chain.from_iterable(read_pairs(shard) for shard in shards):
        if pair.status == PairStatus.OK and pair.image is not None and pair.text not in seen:
            with suppress(ImageRefused):
                image = decode_image(pair.image)
                seen.add(pair.text)
                yield image, pair.text

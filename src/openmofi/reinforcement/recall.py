"""Reads a store of teachers' knowledge: memory-mapped, by shard and key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openmofi.encoders.preprocess import preprocessing_from_json
from openmofi.errors import OpenMofiError
from openmofi.reinforcement.augmentation import OPS, TRANSFORM_VERSION, Augmentation
from openmofi.reinforcement.entity_scores import read_entities
from openmofi.reinforcement.precision import decode, normalised
from openmofi.reinforcement.table import KIND, PARTS, shard_path
from openmofi.reinforcement.teachers import Teacher
from openmofi.schema import PairStatus
from openmofi.storage import Manifest, read_manifest

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_OPEN_SHARDS = 256
_ANEW = "Remove the store and make it again."
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Recalled:
    """Knowledge of n samples, in the order of the request.

    Attributes:
        known: (n,) whether the store has the sample with the status `ok`; all else is zero where it has not.
        widths, heights: (n,) int64 of the upright image at full size, in pixels.
        hashes: (n,) uint64, see `image_hash`.
        augmentations: (n,) the chosen ones; `None` where unknown.
        captions: (n,) the chosen synthetic texts; `""` where unknown, or where the store has none.
        image: by teacher's name, (n, dim) float32, L2-normalised: embeddings of the chosen augmentations.
        text: likewise, of the pairs' own texts.
        caption: likewise, of the chosen synthetic texts; zeros where the store has none.
        entity_ids: by teacher's name, (n, `entity_scores` of the store) int64 rows of `Knowledge.entities()`: the
            teacher's likeliest entities of the chosen augmentations in order; −1 where unknown. Empty without scores.
        entity_scores: likewise, float32: their probabilities among all of these entities; 0 where unknown.
    """

    known: NDArray[np.bool_]
    widths: Ints
    heights: Ints
    hashes: NDArray[np.uint64]
    augmentations: list[Augmentation | None]
    captions: list[str]
    image: dict[str, Floats]
    text: dict[str, Floats]
    caption: dict[str, Floats]
    entity_ids: dict[str, Ints] = field(default_factory=dict)
    entity_scores: dict[str, Floats] = field(default_factory=dict)


class Knowledge:
    """A store of teachers' knowledge of a dataset; read-only. It pickles as its path; processes share the mapped pages.

    Attributes:
        path: the store's folder.
        teachers: see `Teacher`.
        augmentations: augmentations a sample.
        captions: synthetic texts a sample; may be 0.
        entity_scores: entities kept of each augmentation and teacher; may be 0.
        size, interpolation: height and width of the augmentations as the teachers saw them, and their filter: a
            student that replays them with these sees the same pixels.
        fingerprint: of the content: settings, inputs, teachers.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        settings = manifest.settings
        self.path = path
        try:
            self.teachers = tuple(
                Teacher(**{**raw, "preprocessing": preprocessing_from_json(raw["preprocessing"], str(path))})
                for raw in settings["teachers"])
            self.augmentations, self.captions = int(settings["augmentations"]), int(settings["captions"])
            self.entity_scores = int(settings.get("entity_scores", 0))
            self.size, self.interpolation = int(settings["size"]), str(settings["interpolation"])
            self._precision, self._ops = str(settings["precision"]), int(settings["augment"]["ops"])
            self._shards = frozenset(shard["name"] for shard in settings["shards"])
        except (KeyError, TypeError, ValueError) as error:
            raise OpenMofiError(f"The manifest of {path} cannot be read: {type(error).__name__}: {error}.",
                                _ANEW) from error
        self.fingerprint = manifest.fingerprint
        # The most recent ones stay mapped.
        self._shard = lru_cache(_OPEN_SHARDS)(lambda name: _MappedShard.open(shard_path(path, name)))

    @classmethod
    def open(cls, path: str | Path) -> Knowledge:
        """Open a finished store; a shard is mapped when it is first read.

        Raises:
            OpenMofiError: it is not a store, is unfinished, or is of another `TRANSFORM_VERSION`.
        """
        manifest = read_manifest(path, KIND)
        if not manifest.finished:
            raise OpenMofiError(f"{path} is not finished.", "Run the same 'openmofi reinforce' again; it resumes.")
        version = manifest.settings.get("transform_version")
        if version != TRANSFORM_VERSION or tuple(manifest.settings.get("ops", ())) != OPS:
            raise OpenMofiError(f"{path} holds augmentations of version {version}; this OpenMOFI replays version "
                                f"{TRANSFORM_VERSION}, which gives other pixels than the teachers saw.",
                                "Make the store again with this version.")
        return cls(Path(path).absolute(), manifest)

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return (Knowledge.open, (self.path,))

    def take(self, shards: Sequence[str], keys: Sequence[str], augmentation: Ints, caption: Ints) -> Recalled:
        """The store's knowledge of samples.

        Args:
            shards: (n,) names of their shards.
            keys: (n,) their keys in these.
            augmentation: (n,) which augmentation of each, 0 ≤ … < `augmentations`.
            caption: (n,) which synthetic text of each, 0 ≤ … < `captions`; ignored where there are none.

        Raises:
            IndexError: a number is out of its range.
            OpenMofiError: a shard's file is missing or damaged, or holds a value out of its range.
        """
        _check_numbers(augmentation, self.augmentations, "augmentation")
        if self.captions:
            _check_numbers(caption, self.captions, "caption")
        count = len(keys)
        image, text, synthetic = ({teacher.name: np.zeros((count, teacher.dim), np.float32)
                                   for teacher in self.teachers} for _ in PARTS)
        scored, shape = self.teachers if self.entity_scores else (), (count, self.entity_scores)
        recalled = Recalled(np.zeros(count, bool), np.zeros(count, np.int64), np.zeros(count, np.int64),
                            np.zeros(count, np.uint64), [None] * count, [""] * count, image, text, synthetic,
                            {teacher.name: np.full(shape, -1, np.int64) for teacher in scored},
                            {teacher.name: np.zeros(shape, np.float32) for teacher in scored})
        indices: dict[str, list[int]] = {}
        for index, shard in enumerate(shards):
            indices.setdefault(shard, []).append(index)
        for name, index_list in indices.items():
            if name in self._shards:
                mapped = self._shard(name)
                try:
                    self._fill(recalled, mapped, np.array(index_list), [keys[index] for index in index_list],
                               augmentation, caption)
                except (KeyError, ValueError, IndexError) as error:
                    raise OpenMofiError(f"{mapped.path} is damaged: {type(error).__name__}: {error}.", _ANEW) from error
        return recalled

    def entities(self) -> tuple[str, ...]:
        """Identifiers of the entities that `Recalled.entity_ids` are rows of; none where the store has no scores.

        Raises:
            OpenMofiError: their file is missing or damaged.
        """
        return read_entities(self.path) if self.entity_scores else ()

    def texts(self) -> Iterator[str]:
        """The synthetic texts of all samples, shard by shard, repetitions included.

        Raises:
            OpenMofiError: a shard's file is missing or damaged.
        """
        for name in sorted(self._shards):
            yield from self._shard(name).texts.values.to_pylist()

    def _fill(self, recalled: Recalled, shard: _MappedShard, index: Ints, keys: Sequence[str], augmentation: Ints,
              caption: Ints) -> None:
        """Write what `shard` has of `keys` into the elements `index` of `recalled`."""
        rows = shard.rows_of(keys)
        index, rows = index[rows >= 0], rows[rows >= 0]
        if not len(rows):
            return
        numbers = {"image": augmentation[index], "text": np.zeros(len(rows), np.int64), "caption": caption[index]}
        recalled.known[index] = True
        for name, target in (("width", recalled.widths), ("height", recalled.heights), ("hash", recalled.hashes)):
            target[index] = shard.columns[name][rows]
        for sample, drawn in zip(index.tolist(), self._drawn(shard, rows, numbers["image"]), strict=True):
            recalled.augmentations[sample] = drawn
        if self.captions:
            for sample, text in zip(index.tolist(), shard.texts_of(rows, numbers["caption"]), strict=True):
                recalled.captions[sample] = text
        for number, teacher in enumerate(self.teachers):
            for part in PARTS if self.captions else PARTS[:2]:
                getattr(recalled, part)[teacher.name][index] = self._vectors(
                    shard, f"{part}_{number}", teacher.dim, rows, numbers[part])
            if self.entity_scores:
                ids, scores = (shard.chosen(f"{name}_{number}", self.entity_scores, rows, numbers["image"])
                               for name in ("entity", "entity_score"))
                shard.require((ids >= 0) & (ids < self._entity_count), rows, "an entity that the store does not have")
                shard.require((scores >= 0) & (scores <= 1), rows, "an entity score that is not between 0 and 1")
                recalled.entity_ids[teacher.name][index] = ids
                recalled.entity_scores[teacher.name][index] = scores

    def _vectors(self, shard: _MappedShard, name: str, dim: int, rows: Ints, numbers: Ints) -> Floats:
        scales = shard.columns.get(f"{name}_scale")
        factors = np.ones(len(rows), np.float32) if scales is None else scales[rows, numbers]
        vectors = decode(shard.chosen(name, dim, rows, numbers), factors, self._precision)
        shard.require(np.isfinite(vectors), rows, f"an embedding ({name}) that is not finite")
        return normalised(vectors)

    def _drawn(self, shard: _MappedShard, rows: Ints, numbers: Ints) -> list[Augmentation]:
        crops, flips, ops, magnitudes = (
            shard.chosen(name, width, rows, numbers) if width else np.zeros((len(rows), 0)) for name, width in (
                ("crop", 4), ("flip", 1), ("op", self._ops), ("magnitude", self._ops)))
        ends = crops[:, :2] + crops[:, 2:]
        inside = (crops[:, :2] >= 0) & (crops[:, 2:] > 0) & (ends <= 1 + _ROUNDING)
        shard.require(inside, rows, "a crop beyond its image")
        shard.require((ops >= 0) & (ops < len(OPS)) & np.isfinite(magnitudes), rows, "an unknown augmentation")
        parts = (values.tolist() for values in (crops, flips, ops, magnitudes))
        return [Augmentation(tuple(crop), bool(flip[0]), tuple((OPS[op], value) for op, value in zip(
            ops, magnitudes, strict=True))) for crop, flip, ops, magnitudes in zip(*parts, strict=True)]

    @cached_property
    def _entity_count(self) -> int:
        return len(self.entities())


@dataclass(frozen=True)
class _MappedShard:
    """The file of a shard.

    Attributes:
        path: of the file.
        keys: of the rows with the status `ok`, UTF-8 with a full stop appended (numpy drops trailing zeros), sorted.
        rows: of the keys.
        columns: name → values: (rows,) or (rows, width), over the mapped file.
        texts: the synthetic texts.
    """

    path: str
    keys: NDArray[np.bytes_]
    rows: Ints
    columns: Mapping[str, NDArray[Any]]
    texts: pa.ListArray

    @classmethod
    def open(cls, path: str) -> _MappedShard:
        """Map the file and sort its keys.

        Raises:
            OpenMofiError: it is missing or damaged.
        """
        try:
            # One record batch, so that each column is one array.
            batch = pa.ipc.open_file(pa.memory_map(path)).get_batch(0)
            columns = {name: _values(batch.column(name)) for name in batch.schema.names
                       if name not in ("key", "status", "texts")}
            rows = np.flatnonzero(pc.equal(batch.column("status"), str(PairStatus.OK)))
            keys = _packed(batch.column("key").take(pa.array(rows)).to_pylist())
            texts = batch.column("texts")
        except FileNotFoundError as error:
            raise OpenMofiError(f"{path} is missing.", _ANEW) from error
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise OpenMofiError(f"{path} is damaged: {error}.", _ANEW) from error
        order = np.argsort(keys, kind="stable")
        return cls(path, keys[order], rows[order], columns, texts)

    def require(self, right: NDArray[np.bool_], rows: Ints, what: str) -> None:
        """Refuse values out of their range: `right` is (n, width), of these rows of the file.

        Raises:
            OpenMofiError: one is; names the file and the row.
        """
        if not right.all():
            row = rows[int(np.argmin(right.all(1)))]
            raise OpenMofiError(f"Row {row} of {self.path} has {what}: the store is damaged.", _ANEW)

    def rows_of(self, keys: Sequence[str]) -> Ints:
        """(n,) row of each key; −1 where the shard has no knowledge of it."""
        if not len(self.keys):
            return np.full(len(keys), -1, np.int64)
        packed = _packed(keys)
        index = np.minimum(np.searchsorted(self.keys, packed), len(self.keys) - 1)
        return np.where(self.keys[index] == packed, self.rows[index], -1)

    def chosen(self, name: str, width: int, rows: Ints, numbers: Ints) -> NDArray[Any]:
        """(n, width) values of each row's chosen item, where the column `name` has several items of `width` a row."""
        values = self.columns[name]
        return np.asarray(values.reshape(len(values), -1, width)[rows, numbers])

    def texts_of(self, rows: Ints, numbers: Ints) -> list[str]:
        """The chosen text of each row."""
        starts = self.texts.offsets.to_numpy()[rows]
        return list(self.texts.values.take(pa.array(starts + numbers)).to_pylist())


def _packed(keys: Sequence[str]) -> NDArray[np.bytes_]:
    return np.array([key.encode() + b"." for key in keys], np.bytes_)


def _values(column: pa.Array) -> NDArray[Any]:
    """A column's buffer as numpy, without a copy; nulls hold zeros."""
    fixed = pa.types.is_fixed_size_list(column.type)
    flat = column.values if fixed else column
    data = np.frombuffer(flat.buffers()[1], flat.type.to_pandas_dtype())[flat.offset:flat.offset + len(flat)]
    return data.reshape(len(column), column.type.list_size) if fixed else data


def _check_numbers(numbers: Ints, count: int, what: str) -> None:
    if len(numbers) and (int(numbers.min()) < 0 or int(numbers.max()) >= count):
        raise IndexError(f"{what} {int(numbers.min())}..{int(numbers.max())} is outside of 0..{count - 1}")

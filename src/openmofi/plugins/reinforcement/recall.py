"""Reads a store of teachers' knowledge: memory-mapped, by shard and key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openmofi.arrays import Floats, Ints
from openmofi.encoders.preprocess import checked
from openmofi.errors import OpenMofiError
from openmofi.plugins.reinforcement.augmentation import OPS, TRANSFORM_VERSION, Augmentation
from openmofi.plugins.reinforcement.reinforce_settings import AugmentSettings
from openmofi.plugins.reinforcement.table import KIND, PARTS, decode, normalised, shard_path
from openmofi.plugins.reinforcement.teachers import Teacher, read_entities
from openmofi.schema import PairStatus
from openmofi.storage import Manifest, Shard, as_type, read_manifest

_OPEN_SHARDS = 256
_ANEW = "Remove the store and make it again."
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Recalled:
    """Knowledge of n samples, in the order of the request.

    Attributes:
        known: (n,) whether the store has the sample with the status `ok`; all else is zero where it has not.
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
    hashes: NDArray[np.uint64]
    augmentations: list[Augmentation | None]
    captions: list[str]
    image: dict[str, Floats]
    text: dict[str, Floats]
    caption: dict[str, Floats]
    entity_ids: dict[str, Ints] = field(default_factory=dict)
    entity_scores: dict[str, Floats] = field(default_factory=dict)


class _Described(msgspec.Struct):
    """What a store's manifest says of its content."""

    teachers: tuple[Teacher, ...]
    augmentations: int
    captions: int
    size: int
    interpolation: str
    precision: str
    augment: AugmentSettings
    shards: list[Shard]
    entity_scores: int = 0


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
        described = as_type(manifest.settings, _Described, f"The manifest of {path}", _ANEW)
        self.path, self.teachers = path, described.teachers
        for teacher in self.teachers:
            checked(teacher.preprocessing, str(path))
        self.augmentations, self.captions = described.augmentations, described.captions
        self.entity_scores, self.size = described.entity_scores, described.size
        self.interpolation, self._precision = described.interpolation, described.precision
        self._ops, self._shards = described.augment.ops, frozenset(shard.name for shard in described.shards)
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
            raise OpenMofiError(
                f"{path} holds augmentations of version {version}; this OpenMOFI replays version "
                f"{TRANSFORM_VERSION}, which gives other pixels than the teachers saw.",
                "Make the store again with this version.",
            )
        return cls(Path(path).absolute(), manifest)

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return (Knowledge.open, (self.path,))

    def take(self, shards: Sequence[str], keys: Sequence[str], augmentation: Ints, caption: Ints) -> Recalled:
        """Return the store's knowledge of samples.

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
        image, text, synthetic = (
            {teacher.name: np.zeros((count, teacher.dim), np.float32) for teacher in self.teachers} for _ in PARTS
        )
        scored, shape = self.teachers if self.entity_scores else (), (count, self.entity_scores)
        recalled = Recalled(
            np.zeros(count, bool),
            np.zeros(count, np.uint64),
            [None] * count,
            [""] * count,
            image,
            text,
            synthetic,
            {teacher.name: np.full(shape, -1, np.int64) for teacher in scored},
            {teacher.name: np.zeros(shape, np.float32) for teacher in scored},
        )
        indices: dict[str, list[int]] = {}
        for number, shard in enumerate(shards):
            indices.setdefault(shard, []).append(number)
        hits: list[_Hit] = []
        for name, index_list in indices.items():
            if name in self._shards:
                mapped, index = self._shard(name), np.array(index_list)
                rows = mapped.rows_of([keys[sample] for sample in index_list])
                if (rows >= 0).any():
                    hits.append((mapped, index[rows >= 0], rows[rows >= 0]))
        if hits:
            self._fill(recalled, hits, augmentation, caption)
        return recalled

    def entities(self) -> tuple[str, ...]:
        """Return the entities that `Recalled.entity_ids` are rows of; none where the store has no scores.

        Raises:
            OpenMofiError: their file is missing or damaged.
        """
        return read_entities(self.path) if self.entity_scores else ()

    def texts(self) -> Iterator[str]:
        """Yield the synthetic texts of all samples, shard by shard, with repetitions.

        Raises:
            OpenMofiError: a shard's file is missing or damaged.
        """
        for name in sorted(self._shards):
            yield from self._shard(name).texts.values.to_pylist()

    def _fill(self, recalled: Recalled, hits: Sequence[_Hit], augmentation: Ints, caption: Ints) -> None:
        """Write what the shards have of the samples into `recalled`."""
        numbers = {"image": augmentation, "text": np.zeros(len(augmentation), np.int64), "caption": caption}
        for shard, index, rows in hits:
            with shard.readable():
                recalled.hashes[index] = shard.columns["hash"][rows]
                if self.captions:
                    for sample, text in zip(index.tolist(), shard.texts_of(rows, caption[index]), strict=True):
                        recalled.captions[sample] = text
            recalled.known[index] = True
        self._draw(recalled, hits, augmentation)
        for number, teacher in enumerate(self.teachers):
            for part in PARTS if self.captions else PARTS[:2]:
                getattr(recalled, part)[teacher.name][:] = self._vectors(
                    hits, f"{part}_{number}", teacher.dim, numbers[part]
                )
            if self.entity_scores:
                ids, scores = (
                    _gathered(hits, f"{name}_{number}", self.entity_scores, augmentation)
                    for name in ("entity", "entity_score")
                )
                _require(hits, (ids >= 0) & (ids < self._entity_count), "an entity that the store does not have")
                _require(hits, (scores >= 0) & (scores <= 1), "an entity score that is not between 0 and 1")
                recalled.entity_ids[teacher.name][recalled.known] = ids[recalled.known]
                recalled.entity_scores[teacher.name][:] = scores

    def _vectors(self, hits: Sequence[_Hit], name: str, dim: int, numbers: Ints) -> Floats:
        """(n, dim) embeddings; zeros where nothing is known. All shards' are decoded together."""
        codes, factors = _gathered(hits, name, dim, numbers), np.ones(len(numbers), np.float32)
        for shard, index, rows in hits:
            if (scales := shard.columns.get(f"{name}_scale")) is not None:
                factors[index] = scales[rows, numbers[index]]
        vectors = decode(codes, factors, self._precision)
        _require(hits, np.isfinite(vectors), f"an embedding ({name}) that is not finite")
        return normalised(vectors)

    def _draw(self, recalled: Recalled, hits: Sequence[_Hit], numbers: Ints) -> None:
        """Write the chosen augmentations."""
        crops, flips, ops, magnitudes = (
            _gathered(hits, name, width, numbers) if width else np.zeros((len(numbers), 0))
            for name, width in (("crop", 4), ("flip", 1), ("op", self._ops), ("magnitude", self._ops))
        )
        ends = crops[:, :2] + crops[:, 2:]
        _require(hits, (crops[:, :2] >= 0) & (crops[:, 2:] > 0) & (ends <= 1 + _ROUNDING), "a crop beyond its image")
        _require(hits, (ops >= 0) & (ops < len(OPS)) & np.isfinite(magnitudes), "an unknown augmentation")
        parts = zip(*(values.tolist() for values in (crops, flips, ops, magnitudes)), strict=True)
        for sample, (is_known, (crop, flip, names, values)) in enumerate(
            zip(recalled.known.tolist(), parts, strict=True)
        ):
            if is_known:
                recalled.augmentations[sample] = Augmentation(
                    tuple(crop), bool(flip[0]), tuple((OPS[op], value) for op, value in zip(names, values, strict=True))
                )

    @cached_property
    def _entity_count(self) -> int:
        return len(self.entities())


@dataclass(frozen=True)
class _MappedShard:
    """The memory-mapped file of a shard.

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
            columns = {
                name: _values(batch.column(name))
                for name in batch.schema.names
                if name not in ("key", "status", "texts")
            }
            rows = np.flatnonzero(pc.equal(batch.column("status"), str(PairStatus.OK)))
            keys = _packed(batch.column("key").take(pa.array(rows)).to_pylist())
            texts = batch.column("texts")
        except FileNotFoundError as error:
            raise OpenMofiError(f"{path} is missing.", _ANEW) from error
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise OpenMofiError(f"{path} is damaged: {error}.", _ANEW) from error
        order = np.argsort(keys, kind="stable")
        return cls(path, keys[order], rows[order], columns, texts)

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Report errors inside the block as damage to the file.

        Raises:
            OpenMofiError: something does not; names the file.
        """
        try:
            yield
        except (KeyError, ValueError, IndexError) as error:
            raise OpenMofiError(f"{self.path} is damaged: {type(error).__name__}: {error}.", _ANEW) from error

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
        """Return the chosen text of each row."""
        starts = self.texts.offsets.to_numpy()[rows]
        return list(self.texts.values.take(pa.array(starts + numbers)).to_pylist())


_Hit = tuple[_MappedShard, Ints, Ints]
"""A shard that has some of the samples: which of them, and their rows in it."""


def _gathered(hits: Sequence[_Hit], name: str, width: int, numbers: Ints) -> NDArray[Any]:
    """(n, width) values of each sample's chosen item, see `_MappedShard.chosen`; zeros where nothing is known."""
    values: NDArray[Any] | None = None
    for shard, index, rows in hits:
        with shard.readable():
            chosen = shard.chosen(name, width, rows, numbers[index])
            if values is None:
                values = np.zeros((len(numbers), width), chosen.dtype)
            values[index] = chosen
    assert values is not None
    return values


def _require(hits: Sequence[_Hit], right: NDArray[np.bool_], what: str) -> None:
    """See `_MappedShard.require`, of samples that are known."""
    if not right.all():
        for shard, index, rows in hits:
            shard.require(right[index], rows, what)


def _packed(keys: Sequence[str]) -> NDArray[np.bytes_]:
    return np.array([key.encode() + b"." for key in keys], np.bytes_)


def _values(column: pa.Array) -> NDArray[Any]:
    """Return a column's buffer as NumPy, without a copy; nulls hold zeros."""
    fixed = pa.types.is_fixed_size_list(column.type)
    flat = column.values if fixed else column
    data = np.frombuffer(flat.buffers()[1], flat.type.to_pandas_dtype())[flat.offset : flat.offset + len(flat)]
    return data.reshape(len(column), column.type.list_size) if fixed else data


def _check_numbers(numbers: Ints, count: int, what: str) -> None:
    if len(numbers) and (int(numbers.min()) < 0 or int(numbers.max()) >= count):
        raise IndexError(f"{what} {int(numbers.min())}..{int(numbers.max())} is outside of 0..{count - 1}")

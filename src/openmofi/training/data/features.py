"""Features of locked encoders for every row and text of a dataset, computed once and kept as mapped arrays."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from openmofi.arrays import Array, Ints
from openmofi.dataset.origin import Origin
from openmofi.dataset.tables import Folder
from openmofi.encoders import Encoder
from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.features.notes import noted_read
from openmofi.features.store import FeatureStore
from openmofi.features.stream import ahead
from openmofi.pairs import ReadSettings, read_pairs
from openmofi.schema import Pair, PairStatus
from openmofi.storage import Shard, atomic_path, digits64, fingerprint, locked, read_json, write_json
from openmofi.training.data.plan import GREY, Faults
from openmofi.training.data.rows import DatasetRows
from openmofi.training.data.texts import TextPlan, text_id

Halves = NDArray[np.float16]
Part = tuple[NDArray[Any], Mapping[int, str]]
"""Rows (size, dim), and those of them that hold the features of something else, and why: row → reason."""

_GREATEST = float(np.finfo(np.float16).max)
_REFUSED = ".undecodable.json"


@dataclass
class StoredArray:
    """A float16 array on disk, mapped by each process that reads it; it pickles as its path.

    Attributes:
        path: of the array.
        refused: rows that hold the features of something else, and why.
    """

    path: Path
    refused: dict[int, str] = field(default_factory=dict)
    _mapped: Halves | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "refused": self.refused, "_mapped": None}

    @property
    def values(self) -> Halves:
        """The whole array, mapped and not read."""
        if self._mapped is None:
            self._mapped = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return self._mapped

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """(n,) rows → (n, dim) float32."""
        # torch widens halves many times faster than numpy.
        return torch.from_numpy(np.asarray(self.values[rows])).float()


def stored_features(
    path: Path, sizes: Sequence[int], dim: int, part: Callable[[int], Part], stage: str, progress: Progress
) -> StoredArray:
    """The array (sum of sizes, dim) float16 at `path`; computed part by part where it is missing.

    A part is kept as soon as it is computed: a run that was killed resumes after the last one and ends in the same
    bytes. Of several runs that need the same array one computes it, and the others wait. Which rows are refused lies
    beside it, and a part with such rows is computed again by a run that resumes: what was broken may be whole by then.

    Args:
        path: a local `.npy`; its parts lie in the folder of the same name until it is whole.
        sizes: rows of each part.
        dim: columns.
        part: number of a part → its rows, see `Part`.
        stage: name of the work, for the progress.
        progress: counts the parts.

    Raises:
        OpenMofiError: a feature is not finite, or too large for float16.
    """
    if not path.exists():
        with locked(path, lambda: progress.say(f"{stage}: another run is at it; this one waits")):
            if not path.exists():
                _compute(path, sizes, dim, part, stage, progress)
    return StoredArray(path, _refused(path))


def _compute(
    path: Path, sizes: Sequence[int], dim: int, part: Callable[[int], Part], stage: str, progress: Progress
) -> None:
    parts = path.with_suffix(".parts")
    progress.begin(stage, len(sizes))
    for number, size in enumerate(sizes):
        part_path = parts / f"{number:06d}.npy"
        if not part_path.exists() or _refused(part_path):
            values, refused = part(number)
            with np.errstate(over="ignore"):
                rows = values.astype(np.float16)
            if not np.isfinite(rows).all():
                row = int(np.argmin(np.isfinite(rows).all(1)))
                raise OpenMofiError(
                    f"{stage}: the encoder's features of row {row} of part {number} are not finite, or "
                    f"beyond {_GREATEST:,.0f}.",
                    "Use another encoder, or train on live images.",
                )
            _write_refused(part_path, refused)
            with atomic_path(part_path) as temporary, open(temporary, "wb") as handle:
                np.save(handle, rows, allow_pickle=False)
        progress.advance({"rows": size})
    starts = np.cumsum([0, *sizes]).tolist()
    _write_refused(
        path,
        {
            start + row: why
            for number, start in enumerate(starts[:-1])
            for row, why in _refused(parts / f"{number:06d}.npy").items()
        },
    )
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.lib.format.write_array_header_2_0(
            handle, {"descr": "<f2", "fortran_order": False, "shape": (int(sum(sizes)), dim)}
        )
        for number in range(len(sizes)):
            rows = np.load(parts / f"{number:06d}.npy", allow_pickle=False)
            handle.write(np.ascontiguousarray(rows, "<f2").data)
    shutil.rmtree(parts, ignore_errors=True)


def _refused(path: Path) -> dict[int, str]:
    return read_json(
        path.with_suffix(_REFUSED), dict[int, str], "Remove the features; they are made again.", missing={}
    )


def _write_refused(path: Path, refused: Mapping[int, str]) -> None:
    """Before the array itself, whose presence says that all is there."""
    beside = path.with_suffix(_REFUSED)
    if refused:
        write_json(beside, {str(row): why for row, why in refused.items()})
    else:
        beside.unlink(missing_ok=True)


_PART = 2048


@dataclass(frozen=True)
class TextFeatures:
    """Features by the number of their text.

    Attributes:
        ids: (n,) sorted `text_id`s.
        features: (n, dim).
    """

    ids: Ints
    features: StoredArray

    def take(self, ids: Ints) -> Tensor:
        """(m,) `text_id`s → (m, dim) float32."""
        return self.features.take(np.searchsorted(self.ids, ids))


def text_features(
    plan: TextPlan, rows: DatasetRows, encoder: Encoder, cache: Path, progress: Progress, more: Iterable[str] = ()
) -> TextFeatures:
    """Embed the distinct texts that `plan` can draw, and `more`; kept in `CACHE/text_features` by encoder and texts.

    The texts are held in memory while they are embedded: alt-texts of very large datasets are better trained on with
    a text tower of their own.

    Raises:
        OpenMofiError: the encoder cannot be opened.
    """
    encoder = encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    texts = {text_id(text): text for text in plan.texts}
    if plan.alt_text > 0:
        for shard in range(len(rows.starts) - 1):
            texts.update((text_id(text), text) for text in set(rows.batch(shard)["text"].to_pylist()))
    texts.update((text_id(text), text) for text in more)
    ids = np.sort(np.fromiter(texts, np.int64, len(texts)))
    key = fingerprint([encoder.feature_fingerprint, digits64(ids.tobytes())])
    sizes = [len(ids[start : start + _PART]) for start in range(0, len(ids), _PART)]

    def part(number: int) -> Part:
        return encoder.text_features([texts[i] for i in ids[number * _PART : (number + 1) * _PART].tolist()]), {}

    features = stored_features(
        cache / "text_features" / f"{key}.npy", sizes, encoder.text_feature_dim, part, "embed texts", progress
    )
    return TextFeatures(ids, features)


_AGAIN = "Put the old shard back, or label it and build the dataset again."


def image_features(
    dataset: Folder,
    origins: Sequence[Origin],
    rows: DatasetRows,
    encoder: Encoder,
    cache: Path,
    progress: Progress,
    undecodable: float = 0.0,
) -> StoredArray:
    """(rows, feature_dim) float16, in the order of the dataset's rows.

    They are kept in `CACHE/image_features` under the fingerprints of encoder and dataset. What the dataset's label job
    has already computed with this encoder, or another of usual settings in this cache, is taken from there. Shards of
    any kind are read, each once from front to back. An image that can no longer be decoded is said, and has the
    features of a grey one.

    Args:
        dataset, origins, rows: what the features are of.
        encoder: gives them.
        cache: local folder.
        progress: counts the shards.
        undecodable: greatest share of images that can no longer be decoded, of 1,000 at least.

    Raises:
        OpenMofiError: the encoder cannot be opened; a shard is missing or has changed; too many images are broken.
    """
    encoder = encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    key = fingerprint([encoder.feature_fingerprint, dataset.manifest.fingerprint, rows.starts.tolist()])
    usual, noted = FeatureStore(str(cache), encoder), FeatureStore.noted(dataset.path, encoder)
    # Nobody needs the perceptual hash here.
    plain = replace(usual, hashes=False)
    read = replace(noted_read(dataset.path), on_damage="keep")
    faults = Faults(undecodable, lambda chosen: rows.names(chosen, dataset.shards))

    def shard(number: int) -> Part:
        keys = rows.batch(number)["key"]
        if not len(keys):
            return np.zeros((0, encoder.feature_dim), np.float16), {}
        origins[number].require_same(dataset.shards[number], dataset.shards[number].fingerprint)
        for store in filter(None, (noted, usual)):
            stored = _stored(store, dataset.shards[number], keys)
            if stored is not None:
                return stored, {}
        features, refused = _computed(plain, dataset.shards[number], origins[number], keys.to_pylist(), read)
        faults.note(len(keys), [(int(rows.starts[number]) + row, why) for row, why in refused.items()])
        return features, refused

    path = cache / "image_features" / f"{key}.npy"
    features = stored_features(
        path, np.diff(rows.starts).tolist(), encoder.feature_dim, shard, "embed images", progress
    )
    if refused := features.refused:
        progress.say(
            f"{len(refused):,} of {int(rows.starts[-1]):,} images can no longer be decoded, "
            f"{rows.names([min(refused)], dataset.shards)[0]} for one: others are trained on in their place. "
            f"Remove {path} when they are whole again"
        )
    return features


def _stored(store: FeatureStore, shard: Shard, keys: pa.Array) -> Halves | None:
    """Return the features that a label job has computed; `None` where it lacks some."""
    if not store.has(shard.name, shard.fingerprint):
        return None
    features = store.open(shard.name, shard.fingerprint)
    # The first row of a key is the one that counts (`pairs.grouping`).
    distinct = features.table["key"].combine_chunks().unique()
    rows = pc.index_in(keys, value_set=distinct)
    if rows.null_count or len(distinct) != len(features.table) or not features.usable[rows.to_numpy()].all():
        return None
    return features.values[rows.to_numpy()]


def _computed(
    store: FeatureStore, shard: Shard, origin: Origin, keys: list[str], read: ReadSettings
) -> tuple[Array, dict[int, str]]:
    """Embed the wanted rows alone, and say which could not be decoded, and why.

    Batches do not cross shards, nor depend on a restart.
    """
    sample = {image.row for image in origin.sample}
    seen: dict[int, tuple[str, bytes]] = {}
    refused: dict[int, str] = {}
    grey = store.prepare(Pair("", GREY, ""))
    row_of = {key: row for row, key in enumerate(keys)}
    result = np.zeros((len(keys), store.encoder.feature_dim), np.float32)
    done = np.zeros(len(keys), bool)
    pairs = (
        pair
        for pair in read_pairs(shard, read)
        if pair.key in row_of and pair.image is not None and pair.status != PairStatus.DUPLICATE_KEY
    )
    for batch in ahead(pairs, store.prepare, store.batch_size):
        rows = [row_of[pair.key] for pair, _ in batch]
        refused |= {row: str(image.status) for row, (_, image) in zip(rows, batch, strict=True) if image.pixels is None}
        result[rows] = store.embed([grey if image.pixels is None else image for _, image in batch])
        done[rows] = True
        seen |= {
            row: (pair.key, pair.image or b"") for row, (pair, _) in zip(rows, batch, strict=True) if row in sample
        }
    if not done.all():
        raise OpenMofiError(
            f"{shard.path} has no image of the key {keys[int(np.argmin(done))]}: it has changed since it was labelled.",
            _AGAIN,
        )
    origin.require_seen(shard, seen)
    return result, refused

"""Features of a locked image encoder for every row of a dataset, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from openmofi.dataset.tables import Folder
from openmofi.encoders import Array, Encoder, open_encoder
from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.labeling import LabelSettings
from openmofi.labeling.read.stage import features_key
from openmofi.pairs import ImageRefused, ReadSettings, decode_image, read_pairs
from openmofi.schema import PairStatus
from openmofi.storage import Shard, file_fingerprint, fingerprint
from openmofi.storage.atomic import table_metadata
from openmofi.training.data.plan import Ints
from openmofi.training.data.rows import Rows
from openmofi.training.data.stored import Halves, StoredArray, stored_features

_BATCH = 64
_DECODERS = 2
_MAX_BYTES = 1 << 36


def image_features(dataset: Folder, rows: Rows, spec: str, cache: Path, progress: Progress) -> StoredArray:
    """(rows, feature_dim) float16, in the order of the dataset's rows.

    They are kept in `CACHE/image_features` under the fingerprints of encoder and dataset. What a label job of usual
    settings has already computed in the same cache is taken from there. Shards of any kind are read, each once from
    front to back.

    Raises:
        OpenMofiError: the encoder cannot be opened; a shard is missing or has changed; an image is broken.
    """
    encoder = open_encoder(spec, device="cuda" if torch.cuda.is_available() else "cpu")
    key = fingerprint([encoder.feature_fingerprint, dataset.manifest.fingerprint, rows.starts.tolist()])
    embedder = _Embedder(dataset, rows, encoder, cache)
    return stored_features(cache / "image_features" / f"{key}.npy", np.diff(rows.starts).tolist(), encoder.feature_dim,
                           embedder.shard, "embed images", progress)


@dataclass(frozen=True)
class _Embedder:
    dataset: Folder
    rows: Rows
    encoder: Encoder
    cache: Path

    def shard(self, number: int) -> Array | Halves:
        """Features of a shard's rows of the dataset."""
        shard, keys = self.dataset.shards[number], self.rows.batch(number)["key"]
        if not len(keys):
            return np.zeros((0, self.encoder.feature_dim), np.float16)
        found = self._of_label_job(shard, keys)
        return self._computed(shard, keys.to_pylist()) if found is None else found

    def _of_label_job(self, shard: Shard, keys: pa.Array) -> Halves | None:
        name = features_key(self.encoder, LabelSettings(self.encoder.spec))
        path = self.cache / "features" / name / f"{shard.name}.parquet"
        if not path.exists() or table_metadata(path).get("source") != file_fingerprint(shard.path):
            return None
        table = pq.read_table(path, columns=["key", "status", "feature"])
        # The first row of a key is the one that counts (`pairs.grouping`).
        places = pc.index_in(keys, value_set=_distinct(table["key"]))
        if places.null_count or len(_distinct(table["key"])) != len(table):
            return None
        chosen = table.take(places).combine_chunks()
        if not pc.all(pc.equal(chosen["status"], str(PairStatus.OK))).as_py():
            return None
        flat: Halves = chosen["feature"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(keys), self.encoder.feature_dim)

    def _computed(self, shard: Shard, keys: list[str]) -> Array:
        place = {key: number for number, key in enumerate(keys)}
        result = np.zeros((len(keys), self.encoder.feature_dim), np.float32)
        done = np.zeros(len(keys), bool)
        with ThreadPoolExecutor(_DECODERS) as pool:
            for numbers, pixels in _ahead(self._wanted(shard, place), pool, self._pixels):
                result[numbers] = self.encoder.image_features(np.stack(pixels))
                done[numbers] = True
        if not done.all():
            raise OpenMofiError(f"{shard.path} has no image of the key {keys[int(np.argmin(done))]}: it has changed "
                                "since it was labelled.",
                                "Put the old shard back, or label it and build the dataset again.")
        return result

    @staticmethod
    def _wanted(shard: Shard, place: dict[str, int]) -> Iterator[tuple[int, str, bytes]]:
        settings = ReadSettings(max_image_bytes=_MAX_BYTES, on_damage="keep")
        for pair in read_pairs(shard, settings):
            if pair.key in place and pair.image is not None and pair.status != PairStatus.DUPLICATE_KEY:
                yield place[pair.key], f"{pair.key} of {shard.path}", pair.image

    def _pixels(self, item: tuple[int, str, bytes]) -> Array:
        _, name, data = item
        try:
            return self.encoder.preprocess(decode_image(data, size_hint=self.encoder.preprocessing.decode_size))
        except ImageRefused as refused:
            raise OpenMofiError(f"The image {name} cannot be decoded: {refused.why}.",
                                "Put the old shard back, or label it and build the dataset again.") from refused


def _ahead(items: Iterator[tuple[int, str, bytes]], pool: ThreadPoolExecutor,
           work: Callable[[tuple[int, str, bytes]], Array]) -> Iterator[tuple[Ints, list[Array]]]:
    """Batches with two more being decoded while one is embedded; they do not cross shards, nor depend on a restart."""
    waiting: list[tuple[list[int], list[Future[Array]]]] = []
    while batch := list(islice(items, _BATCH)):
        waiting.append(([number for number, _, _ in batch], [pool.submit(work, item) for item in batch]))
        if len(waiting) > 2:
            yield _finished(*waiting.pop(0))
    for numbers, futures in waiting:
        yield _finished(numbers, futures)


def _finished(numbers: list[int], futures: list[Future[Array]]) -> tuple[Ints, list[Array]]:
    return np.array(numbers, np.int64), [future.result() for future in futures]


def _distinct(keys: pa.ChunkedArray) -> pa.Array:
    return keys.combine_chunks().unique()

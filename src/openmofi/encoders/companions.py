"""What lies beside an encoder on disk and belongs to it: its calibration, vectors of entities, and folds."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openmofi.encoders.protocol import Array
from openmofi.errors import OpenMofiError
from openmofi.storage import write_json, write_table

CALIBRATION_FILE, CLASSES_FILE, FOLDS_FILE = "calibration.json", "classes.parquet", "folds.json"


@dataclass(frozen=True)
class ClassVectors:
    """What was learned of entities beyond their texts, as the class weights of a softmax head (MOFI §3.2).

    Attributes:
        ids: identifiers, Arrow strings (n,).
        vectors: (n, dim) float32, added to the normalised text embedding before it is normalised again.
    """

    ids: pa.Array
    vectors: Array

    def save(self, folder: str | Path) -> None:
        """Write as float16 beside an encoder."""
        flat = self.vectors.astype(np.float16)
        write_table(Path(folder) / CLASSES_FILE, pa.table({
            "id": self.ids, "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])}))

    @classmethod
    def beside(cls, folder: str | Path) -> ClassVectors | None:
        """Those of the encoder in `folder`, if it has any.

        Raises:
            OpenMofiError: the file is damaged.
        """
        path = Path(folder) / CLASSES_FILE
        if not path.exists():
            return None
        try:
            table = pq.read_table(path)
            column = table.column("vector").combine_chunks()
            vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), column.type.list_size)
            return cls(table.column("id").combine_chunks(), vectors.astype(np.float32))
        except (pa.ArrowException, KeyError, OSError) as error:
            raise OpenMofiError(f"{path} cannot be read: {error}.", "Train or copy the encoder again.") from error

    def applied(self, ids: pa.Array, embeddings: Array) -> Array:
        """Text embeddings (n, dim) of `ids` with the learned vectors added, L2-normalised; unknown ones as they are."""
        position = pc.index_in(ids, value_set=self.ids)
        known = position.is_valid().to_numpy(zero_copy_only=False)
        result = embeddings.copy()
        result[known] += self.vectors[position.drop_null().to_numpy().astype(np.int64)]
        return result / np.maximum(np.linalg.norm(result, axis=1, keepdims=True), 1e-12)


def folds_of(keys: Sequence[str], count: int) -> NDArray[np.int64]:
    """(n,) in which of `count` folds each page is, by its key alone."""
    return np.array([zlib.crc32(key.encode("utf-8", "surrogatepass")) % count for key in keys], np.int64)


@dataclass(frozen=True)
class Folds:
    """Cross-fitted copies of an encoder in `folds/0`, `folds/1` …

    Attributes:
        count: how many.
        seen: fingerprints of the shards of pairs that were fitted on, sorted.
    """

    count: int
    seen: Sequence[str]

    def of(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """(n,) the fold of each page, by its key alone."""
        return folds_of(keys, self.count)

    def save(self, folder: str | Path) -> None:
        """Write beside an encoder; last of all, since it says that the folds are there."""
        write_json(Path(folder) / FOLDS_FILE, {"count": self.count, "seen": sorted(self.seen)})

    @classmethod
    def beside(cls, folder: str | Path) -> Folds | None:
        """Those of the encoder in `folder`, if it has any.

        Raises:
            OpenMofiError: the file is damaged.
        """
        path = Path(folder) / FOLDS_FILE
        if not path.exists():
            return None
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            return cls(int(raw["count"]), tuple(raw["seen"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OpenMofiError(f"{path} cannot be read: {error!r}.", "Train or copy the encoder again.") from error


@dataclass(frozen=True)
class Companions:
    """What lies beside an encoder; read when it is first used.

    Attributes:
        folder: of the encoder; `None` for one that is not a folder of ours.
        source_fingerprint: of the encoder that it was exported from, whose calibration holds for it; else empty.
    """

    folder: Path | None = None
    source_fingerprint: str = ""

    @property
    def calibration(self) -> Path | None:
        """The file `calibration.json`, where there is one."""
        return self._file(CALIBRATION_FILE)

    @cached_property
    def class_vectors(self) -> ClassVectors | None:
        """What was learned of entities beyond their texts.

        Raises:
            OpenMofiError: the file is damaged.
        """
        return ClassVectors.beside(self.folder) if self.folder else None

    @cached_property
    def folds(self) -> Folds | None:
        """The cross-fitted copies; `Encoder.fold` opens one.

        Raises:
            OpenMofiError: the file is damaged.
        """
        return Folds.beside(self.folder) if self.folder else None

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that exist."""
        paths = (self._file(name) for name in (CALIBRATION_FILE, CLASSES_FILE, FOLDS_FILE))
        return tuple(path for path in paths if path)

    def _file(self, name: str) -> Path | None:
        path = self.folder / name if self.folder else None
        return path if path and path.exists() else None

"""What lies beside an encoder on disk and belongs to it: its calibration, vectors of entities, and folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openmofi.arrays import Array, Ints
from openmofi.errors import OpenMofiError
from openmofi.storage import read_json, read_parquet, write_json, write_table
from openmofi.storage.table_files import is_ascending, places_in

CALIBRATION_FILE, GALLERY_FILE, CLASSES_FILE, FOLDS_FILE, FITTED_FILE = (
    "calibration.json",
    "gallery.npz",
    "classes.parquet",
    "folds.json",
    "folds.parquet",
)
FITTED = pa.schema([("shard", pa.dictionary(pa.int32(), pa.string())), ("key", pa.string()), ("fold", pa.int8())])
"""folds: the pairs that heads were fitted on, by fingerprint of their shard and key, and the fold of each."""


@dataclass(frozen=True)
class ClassVectors:
    """Vectors of entities, learned beyond their texts as the class weights of a softmax head (MOFI §3.2).

    Attributes:
        ids: identifiers, Arrow strings (n,).
        vectors: (n, dim) float32, added to the normalised text embedding before it is normalised again.
    """

    ids: pa.Array
    vectors: Array

    def save(self, folder: str | Path) -> None:
        """Write the vectors as float16 beside an encoder."""
        flat = self.vectors.astype(np.float16)
        write_table(
            Path(folder) / CLASSES_FILE,
            pa.table(
                {"id": self.ids, "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])}
            ),
        )

    @classmethod
    def beside(cls, folder: str | Path) -> ClassVectors | None:
        """Read the vectors of the encoder in `folder`; `None` where it has none.

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

    def _rows_of(self, ids: pa.Array) -> Ints:
        if self._ascending:
            return places_in(self.ids, ids)
        return pc.fill_null(pc.index_in(ids, value_set=self.ids), -1).to_numpy(zero_copy_only=False).astype(np.int64)

    @cached_property
    def _ascending(self) -> bool:
        return is_ascending(self.ids)

    def applied(self, ids: pa.Array, embeddings: Array) -> Array:
        """Text embeddings (n, dim) of `ids` with the learned vectors added, L2-normalised; unknown ones as they are."""
        rows = self._rows_of(ids)
        learned = rows >= 0
        result = embeddings.copy()
        result[learned] += self.vectors[rows[learned]]
        return result / np.maximum(np.linalg.norm(result, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True)
class Folds:
    """Cross-fitted copies of an encoder in `folds/0`, `folds/1` …, each fitted without the pairs of its fold.

    Which pairs are in a fold is written down, since they are chosen by groups (`openmofi.labeling.groups`), which
    are others in another corpus.

    Attributes:
        count: how many.
        fitted: the pairs that were fitted on (`FITTED`).
    """

    count: int
    fitted: pa.Table

    def of(self, shard: str, keys: Sequence[str]) -> Ints:
        """(n,) the fold of each pair of the shard with the fingerprint `shard`; −1 for what was not fitted on."""
        fitted = self.fitted.filter(pc.equal(self.fitted["shard"], shard))
        position = pc.index_in(pa.array(keys, pa.string()), value_set=fitted["key"])
        return pc.fill_null(fitted["fold"].take(position), -1).to_numpy().astype(np.int64)

    def save(self, folder: str | Path) -> None:
        """Write the folds beside an encoder; last of all, since the files say that the copies are there."""
        write_table(Path(folder) / FITTED_FILE, self.fitted)
        write_json(Path(folder) / FOLDS_FILE, {"count": self.count})

    @classmethod
    def beside(cls, folder: str | Path) -> Folds | None:
        """Read the folds of the encoder in `folder`; `None` where it has none.

        Raises:
            OpenMofiError: a file is damaged or missing.
        """
        path = Path(folder) / FOLDS_FILE
        if not path.exists():
            return None
        hint = "Train or copy the encoder again."
        count = read_json(path, _FoldsFile, hint).count
        return cls(count, read_parquet(path.with_name(FITTED_FILE), FITTED, hint=hint).cast(FITTED))


class _FoldsFile(msgspec.Struct):
    count: int


@dataclass(frozen=True)
class Companions:
    """The files beside an encoder, each read when it is first used.

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
        """The learned vectors of entities; `None` where there are none.

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
        """The files that exist."""
        paths = (self._file(name) for name in (CALIBRATION_FILE, GALLERY_FILE, CLASSES_FILE, FITTED_FILE, FOLDS_FILE))
        return tuple(path for path in paths if path)

    def _file(self, name: str) -> Path | None:
        path = self.folder / name if self.folder else None
        return path if path and path.exists() else None

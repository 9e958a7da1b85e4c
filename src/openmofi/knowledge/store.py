"""The knowledge base as stages use it: opened in milliseconds, memory-mapped, shared between processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import marisa_trie
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from openmofi.errors import OpenMofiError
from openmofi.knowledge.names import normalise
from openmofi.schema import ENTITIES, Entity
from openmofi.storage import Manifest, read_manifest
from openmofi.storage.addresses import is_utf8

KIND = "knowledge_base"
ENTITIES_ARROW, IDS, ID_ROWS, NAMES_MARISA = "entities.arrow", "ids.marisa", "id_rows.npy", "names.marisa"
OFFSETS, ROWS = "candidates/offsets.npy", "candidates/rows.npy"
COMMONNESS, LINK_PROBABILITY = "candidates/commonness.npy", "candidates/link_probability.npy"
VECTORS = "vectors.npy"
FILES = (ENTITIES_ARROW, IDS, ID_ROWS, NAMES_MARISA, OFFSETS, ROWS, COMMONNESS, LINK_PROBABILITY, VECTORS)

_NO_ROWS = np.zeros(0, np.int32)
_NO_PRIORS = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a name may mean.

    Attributes:
        rows: int32 entity rows, by falling commonness.
        priors: float32 commonness P(entity | name); sums to 1 unless the builder cut candidates.
    """

    rows: NDArray[np.int32]
    priors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)


def _check_files(folder: Path, manifest: Manifest) -> None:
    if not manifest.finished:
        raise OpenMofiError(f"{folder} is not finished: its build was interrupted.",
                            "Start the same 'openmofi kb build' again.")
    files = manifest.counts.get("files")
    if not isinstance(files, dict):
        raise OpenMofiError(f"The manifest of {folder} does not list its files.", "Build the knowledge base again.")
    for name, size in files.items():
        path = folder / name
        actual = path.stat().st_size if path.is_file() else None
        if actual != size:
            problem = "is missing" if actual is None else f"has {actual:,} bytes and should have {size:,}"
            raise OpenMofiError(f"{path} {problem}.", "The knowledge base is damaged: build it again.")


class KnowledgeBase:
    """Entities, their names, and their place in the graph; read-only.

    Open it with `KnowledgeBase.open`. Its pickle is its path and fingerprint: unpickling opens it again, so that a
    worker process maps the same pages, and refuses a folder whose content has changed.

    Attributes:
        path: its folder, absolute.
        manifest: how it was built.
        names: trie of keys (see `knowledge.names`); a key's id is its row in `link_probabilities`.
        link_probabilities: (names) float32.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        try:
            self.names = marisa_trie.Trie().mmap(str(path / NAMES_MARISA))
            self._ids = marisa_trie.Trie().mmap(str(path / IDS))
            table = pa.ipc.open_file(pa.memory_map(str(path / ENTITIES_ARROW))).read_all()
            if table.schema != ENTITIES:
                raise ValueError(f"{ENTITIES_ARROW} has other columns")
            self._columns = [table.column(name).chunk(0) for name in ENTITIES.names]
            self._id_rows = self._array(ID_ROWS)
            self._offsets = self._array(OFFSETS)
            self._rows = self._array(ROWS)
            self._commonness = self._array(COMMONNESS)
            self.link_probabilities = self._array(LINK_PROBABILITY)
            self._vectors = self._array(VECTORS)
        except (OSError, ValueError, RuntimeError, pa.ArrowInvalid) as error:
            raise OpenMofiError(f"The knowledge base {path} is damaged: {error}.", "Build it again.") from error
        self._check_lengths()

    @classmethod
    def open(cls, path: str | Path) -> KnowledgeBase:
        """Map a built knowledge base; `path` is its folder.

        Raises:
            OpenMofiError: it is not a knowledge base, or it has another schema version, is unfinished or damaged.
        """
        folder = Path(path)
        if not is_utf8(folder):
            raise OpenMofiError(f"{str(folder)!a} cannot be opened: the name is not UTF-8.", "Rename it.")
        manifest = read_manifest(folder, KIND)
        _check_files(folder, manifest)
        return cls(folder.absolute(), manifest)

    def __reduce__(self) -> tuple[Any, tuple[Path, str]]:
        return (_reopen, (self.path, self.fingerprint))

    def _array(self, name: str) -> NDArray[Any]:
        # A plain array over the map: np.memmap's own class makes every slice several times slower.
        return np.asarray(np.load(self.path / name, mmap_mode="r", allow_pickle=False))

    def _check_lengths(self) -> None:
        size, names = len(self._columns[0]), len(self.names)
        whole = (len(self._id_rows) == len(self._ids) == len(self._vectors) == size
                 and len(self.link_probabilities) == names == len(self._offsets) - 1
                 and len(self._rows) == len(self._commonness) == int(self._offsets[-1]))
        if not whole:
            raise OpenMofiError(f"The files of the knowledge base {self.path} do not fit together.", "Build it again.")

    @property
    def fingerprint(self) -> str:
        """Identifies the content: its sources and settings."""
        return self.manifest.fingerprint

    @property
    def dim(self) -> int:
        """Length of a coherence vector."""
        return int(self._vectors.shape[1])

    def __len__(self) -> int:
        return len(self._columns[0])

    def entity(self, row: int) -> Entity:
        """The entity at `row`.

        Raises:
            IndexError: `row` is out of range.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        entity_id, name, description, types, popularity = (column[row].as_py() for column in self._columns)
        return Entity(entity_id, name, description, tuple(types), popularity)

    def row(self, entity_id: str) -> int:
        """The row of an identifier.

        Raises:
            KeyError: the identifier is unknown.
        """
        return int(self._id_rows[self._ids[entity_id]])

    def rows(self, ids: Sequence[str]) -> NDArray[np.int32]:
        """(n) int32 rows of identifiers; −1 for an unknown identifier."""
        keys = np.fromiter((self._ids.get(entity_id, -1) for entity_id in ids), np.int64, len(ids))
        return np.where(keys >= 0, self._id_rows[keys], -1).astype(np.int32)

    def ids(self, rows: ArrayLike) -> list[str]:
        """Identifiers of rows."""
        ids: list[str] = self._columns[0].take(pa.array(np.asarray(rows, np.int64))).to_pylist()
        return ids

    def candidates(self, name: str, limit: int = 30) -> Candidates:
        """What `name` may mean, commonest first; empty for an unknown name."""
        key = self.names.get(normalise(name), -1)
        if key < 0:
            return Candidates(_NO_ROWS, _NO_PRIORS)
        start = int(self._offsets[key])
        end = min(int(self._offsets[key + 1]), start + limit)
        return Candidates(self._rows[start:end], self._commonness[start:end])

    def link_probability(self, name: str) -> float:
        """How often `name` in a text is a mention at all, 0..1; 0 for an unknown name."""
        key = self.names.get(normalise(name), -1)
        return float(self.link_probabilities[key]) if key >= 0 else 0.0

    def vectors(self, rows: ArrayLike) -> NDArray[np.float32]:
        """(n, dim) float32 coherence vectors of rows, L2-normalised; zeros where an entity has no relations."""
        vectors: NDArray[np.float32] = self._vectors[np.asarray(rows, np.int64)].astype(np.float32)
        return vectors


def _reopen(path: Path, fingerprint: str) -> KnowledgeBase:
    kb = KnowledgeBase.open(path)
    if kb.fingerprint != fingerprint:
        raise OpenMofiError(f"The knowledge base {path} has changed since it was opened: its fingerprint is "
                            f"{kb.fingerprint}, not {fingerprint}.", "Start the command again.")
    return kb


def look_up(kb: str | Path, name: str, limit: int = 30) -> dict[str, Any]:
    """What a name may mean, as plain data: `key`, `link_probability`, `candidates` (prior and the entity's fields)."""
    opened = KnowledgeBase.open(kb)
    candidates = opened.candidates(name, limit)
    entities = [opened.entity(row) for row in candidates.rows.tolist()]
    return {
        "name": name, "key": normalise(name), "link_probability": opened.link_probability(name),
        "candidates": [{"prior": prior, "id": entity.id, "name": entity.name, "types": list(entity.types),
                        "description": entity.description, "popularity": entity.popularity}
                       for entity, prior in zip(entities, candidates.priors.tolist(), strict=True)],
    }

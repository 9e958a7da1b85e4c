"""The knowledge base as stages use it: opened in milliseconds, memory-mapped, shared between processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from openmofi.arrays import Array, Codes, Halves
from openmofi.engine import Progress, Quiet
from openmofi.errors import OpenMofiError, UnknownEntityError
from openmofi.knowledge import beside, identifiers, layout
from openmofi.knowledge.arrays import bad_offsets, mapped, open_names, outside, taken
from openmofi.knowledge.beside import Languages, mask_of
from openmofi.knowledge.candidates import (
    Candidates,
    CandidateTable,
    Neighbour,
    Relation,
    names_of,
    nearest_rows,
    plain_candidate,
    spelt_alike,
)
from openmofi.knowledge.names import normalise
from openmofi.schema import ENTITIES, Entity
from openmofi.storage import Manifest, fingerprint, is_remote, read_manifest
from openmofi.storage.digests import check_once, file_stamp, let_settle, note_checked

_NO_ROWS = np.zeros(0, np.int32)
_NO_PRIORS = np.zeros(0, np.float32)


class KnowledgeBase:
    """Entities, their names, and their place in the graph; read-only.

    It is a mapping too: `kb["Q42"]` is an entity, `"Q42" in kb`, `len(kb)`; iterated, it gives the identifiers.

    Open it with `KnowledgeBase.open`. Its pickle is its path and fingerprint: unpickling opens it again, so that a
    worker process maps the same pages, and refuses a folder whose content has changed.

    Attributes:
        path: its folder, absolute; of a base in a store the local copy of it.
        address: what it was opened by, if that is in a store, else `path`.
        manifest: how it was built.
        names: trie of keys (see `knowledge.names`), or several as one; a key's id is its row in `link_probabilities`.
        link_probabilities: (names) float32.
        table: all names with their candidates.
        entities: all entities in row order (`schema.ENTITIES`).
        beside: relations, images, what priors are known by, and redirects, where the base has them.
        languages: those of the names, where the base knows them, or `None`.
        images: reference images of entities (`beside.IMAGES`), by identifier; `None` where there are none.
    """

    def __init__(self, path: Path, manifest: Manifest, stamp: str = "", address: str | Path = "") -> None:
        self.path = path
        self.address = address or path
        self.manifest = manifest
        self._stamp = stamp
        try:
            self.names = open_names(path, manifest.counts)
            self._ids = identifiers.open_ids(path, numbered=identifiers.NUMBERS in manifest.counts["files"])
            self.entities = pa.ipc.open_file(pa.memory_map(str(path / layout.ENTITIES_ARROW))).read_all()
            if self.entities.schema != ENTITIES:
                raise ValueError(f"{layout.ENTITIES_ARROW} has other columns")
            arrays = (layout.OFFSETS, layout.ROWS, layout.COMMONNESS, layout.LINK_PROBABILITY)
            self.table = CandidateTable(self.names, *(mapped(path / name) for name in arrays))
            self.link_probabilities = self.table.link_probability
            self._vectors = mapped(path / layout.VECTORS)
            self.beside = beside.OptionalFiles.of(path)
            self.languages = Languages.of(path, manifest.counts.get("languages", ()))
            self.images = beside.open_images(path, manifest.counts["files"])
            if not self._fits():
                raise ValueError("its files do not fit together")
        except Exception as error:  # numpy parses a header as Python: what a damaged one raises is of many kinds
            raise OpenMofiError(f"The knowledge base {path} is damaged: {error}.", "Build it again.") from error

    @classmethod
    def open(cls, path: str | Path, *, progress: Progress | None = None, checked: str = "") -> KnowledgeBase:
        """Map a built knowledge base.

        When it is opened first, and after each change of a file, all of it is read and checked: a second a gigabyte.

        Args:
            path: its folder; where that is in a store, it is fetched once a machine.
            progress: receives the check, where it takes more than two seconds.
            checked: stamp of the files that another process has checked.

        Raises:
            OpenMofiError: it is not a knowledge base, or it has another schema version, is unfinished or damaged.
        """
        progress = progress or Quiet()
        folder = layout.mappable(path)
        manifest = read_manifest(folder, layout.KIND, outdated=layout.REBUILD)
        files = layout.listed_files(folder, manifest)
        layout.require_whole(folder, layout.wrong_sizes(folder, files))
        stamp = file_stamp(folder, files, manifest.counts[layout.DIGESTS])

        def check() -> None:
            let_settle(folder, files)
            layout.require_whole(folder, layout.wrong_digests(folder, manifest, files, progress))
            layout.require_whole(folder, cls(folder, manifest).wrong_contents())
            if file_stamp(folder, files, manifest.counts[layout.DIGESTS]) != stamp:
                raise OpenMofiError(f"{folder} has changed while it was checked.", "Start the command again.")

        if stamp != checked:
            check_once(stamp, check, lambda: progress.say(f"{folder} is being checked by another process; waiting"))
        return cls(folder, manifest, stamp, str(path) if is_remote(path) else folder)

    def __reduce__(self) -> tuple[Any, tuple[str | Path, str, str]]:
        return (_reopen, (self.address, self.fingerprint, self._stamp))

    def _fits(self) -> bool:
        size, names = len(self), len(self.names)
        return (
            len(self._ids.rows_of) == len(self._ids) == len(self._vectors) == size
            and len(self.link_probabilities) == names == len(self.table.offsets) - 1
            and len(self.table.rows) == len(self.table.commonness) == int(self.table.offsets[-1])
            and (self.beside.relations is None or self.beside.relations.fits(size))
            and (
                self.languages is None
                or (self.languages.masks.shape == (names,) and self.languages.masks.dtype == np.uint64)
            )
        )

    def wrong_contents(self) -> dict[str, str]:
        """Return file → what is wrong in it, such as an entity row beyond the entities; all is read but the tries."""
        size, names, links = len(self), len(self.names), len(self.table.rows)
        arrays = {
            identifiers.ROWS: (self._ids.rows_of, np.int32, (size,), 0, size - 1),
            layout.ROWS: (self.table.rows, np.int32, (links,), 0, size - 1),
            layout.COMMONNESS: (self.table.commonness, np.float32, (links,), 0, layout.UNIT),
            layout.LINK_PROBABILITY: (self.link_probabilities, np.float32, (names,), 0, layout.UNIT),
            layout.VECTORS: (self._vectors, np.float16, (size, self._vectors.shape[-1]), -layout.UNIT, layout.UNIT),
        }
        problems = {name: outside(*array) for name, array in arrays.items()}
        problems[layout.ENTITIES_ARROW] = layout.bad_entities(self.entities)
        problems[identifiers.NUMBERS] = self._ids.problem()
        problems[layout.OFFSETS] = bad_offsets(self.table.offsets, names, links)
        problems |= self.beside.wrong_contents(size)
        if self.images is not None:
            problems[beside.images_file(self.manifest.counts["files"])] = beside.bad_images(self.images, self._ids.rows)
        return {name: problem for name, problem in problems.items() if problem}

    @property
    def fingerprint(self) -> str:
        """Identifies the content: its sources and settings, and its images."""
        images = beside.images_file(self.manifest.counts["files"])
        return fingerprint([self.manifest.fingerprint, images]) if images else self.manifest.fingerprint

    @property
    def dim(self) -> int:
        """Length of a coherence vector."""
        return int(self._vectors.shape[1])

    def __len__(self) -> int:
        return len(self.entities)

    def __contains__(self, entity_id: object) -> bool:
        return isinstance(entity_id, str) and self._row(entity_id) >= 0

    def _row(self, entity_id: str) -> int:
        row = self._ids.row(entity_id)
        return row if row >= 0 else self._ids.row(self.beside.into(entity_id) or "")

    def __iter__(self) -> Iterator[str]:
        return (each.as_py() for each in self.entities.column("id"))

    def __getitem__(self, entity_id: str) -> Entity:
        """The entity of an identifier, also of one that was merged into it, where the base has redirects; see `row`."""
        return self.entity(self.row(entity_id))

    def _advice_on(self, entity_id: object) -> str:
        """What to do about an unknown identifier, which may be a name, or spelt wrong."""
        if not isinstance(entity_id, str):
            return "Give its identifier as text, such as 'Q42'; kb.entity(row) takes rows."
        if len(candidates := self.candidates(entity_id, 3)):
            means = ", ".join(map(repr, self.ids(candidates.rows)))
            return f"It is a name, which may mean {means}: see kb.lookup({entity_id!r})."
        if near := self._ids.alike(entity_id, 3):
            return f"Did you mean {' or '.join(map(repr, near))}?"
        return f"Its identifiers look like {self.ids([0])[0]!r}; kb.lookup finds them by name."

    def current(self, ids: pa.StringArray) -> pa.StringArray:
        """Identifiers as they are now: those of entities that were merged are what these were merged into."""
        return self.beside.current(ids, lambda entity_id: self._ids.row(entity_id) >= 0)

    def entity(self, row: int) -> Entity:
        """The entity at `row`.

        Raises:
            IndexError: `row` is out of range.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        entity_id, name, description, types, popularity = (column[row].as_py() for column in self.entities.columns)
        image = self.beside.details_of(row).get("image", "")
        return Entity(entity_id, name, description, tuple(types), popularity, image)

    def row(self, entity_id: str) -> int:
        """The row of an identifier; redirects are followed.

        Raises:
            UnknownEntityError: the identifier is unknown; the hint names what is near.
        """
        if not isinstance(entity_id, str) or (row := self._row(entity_id)) < 0:
            raise UnknownEntityError(
                f"The knowledge base {self.path} has no entity {entity_id!r}.", self._advice_on(entity_id)
            )
        return row

    def rows(self, ids: Sequence[str]) -> Codes:
        """(n) int32 rows of identifiers; redirects are followed; −1 for an unknown identifier."""
        rows = self._ids.rows(ids)
        if self.beside.redirects is not None:
            for position in np.flatnonzero(rows < 0).tolist():
                rows[position] = self._row(ids[position])
        return rows

    def ids(self, rows: ArrayLike) -> list[str]:
        """Identifiers of rows."""
        return self.id_array(rows).to_pylist()

    def id_array(self, rows: ArrayLike) -> pa.StringArray:
        """(n) identifiers of rows, which are no objects of Python."""
        return taken(self.entities.column("id"), rows)

    def types(self, rows: ArrayLike) -> pa.ListArray:
        """(n) lists of rows' types."""
        return taken(self.entities.column("types"), rows)

    def candidates(self, name: str, limit: int = 30, languages: Sequence[str] = ()) -> Candidates:
        """What `name` may mean, commonest first; empty for an unknown name, and where it is of other languages.

        Raises:
            UsageError: the base has no names of one of the languages, or does not know them.
        """
        wanted = mask_of(self.languages, languages, self.path) if languages else None
        key = self.names.get(normalise(name), -1)
        if key < 0 or (wanted is not None and self.languages and not self.languages.masks[key] & wanted):
            return Candidates(_NO_ROWS, _NO_PRIORS)
        start = int(self.table.offsets[key])
        end = min(int(self.table.offsets[key + 1]), start + limit)
        return Candidates(self.table.rows[start:end], self.table.commonness[start:end])

    def lookup(self, name: str, limit: int = 30, languages: Sequence[str] = ()) -> dict[str, Any]:
        """What a name may mean, as plain data.

        Args:
            name: as a text would spell it.
            limit: most candidates.
            languages: codes; a name of none of them has no candidates. Empty takes all names.

        Returns:
            `name`, `key`, `link_probability`, `candidates` (prior and the entity's fields; where the base knows them
            `prior_from`, such as `links` or `sitelinks`, and `image`) and, where there is no candidate, `nearest`: keys
            that are spelt alike; of a base that knows them, `languages` of the name.

        Raises:
            UsageError: see `candidates`.
        """
        candidates = self.candidates(name, limit, languages)
        key = self.names.get(normalise(name), -1)
        return {
            "name": name,
            "key": normalise(name),
            "link_probability": self.link_probability(name),
            "candidates": [
                plain_candidate(self.entity(row), prior, self.beside.details_of(row))
                for row, prior in zip(candidates.rows.tolist(), candidates.priors.tolist(), strict=True)
            ],
            **({"languages": self.languages.of_name(key)} if self.languages and key >= 0 else {}),
            **({} if len(candidates) else {"nearest": spelt_alike(self.names.iterkeys, normalise(name), 3)}),
        }

    def names_of(self, entity_id: str) -> list[str]:
        """Keys that may mean an entity, by falling commonness; all candidates are read.

        Raises:
            UnknownEntityError: the identifier is unknown.
        """
        return names_of(self.table, self.row(entity_id))

    def relations(self, entity_id: str) -> list[Relation]:
        """What an entity is said to be related to, by name of the relation, then by row; empty without relations.

        Raises:
            UnknownEntityError: the identifier is unknown.
        """
        row, relations = self.row(entity_id), self.beside.relations
        if relations is None:
            return []
        _, kinds, tails = relations.between(row, row + 1)
        return [
            Relation(relations.names[kind], self.entity(tail))
            for kind, tail in zip(kinds.tolist(), tails.tolist(), strict=True)
        ]

    @property
    def has_relations(self) -> bool:
        """Whether it knows what entities are related to; without, nothing is above or below another."""
        return self.beside.relations is not None

    def ancestors(self, entity_id: str) -> list[str]:
        """Identifiers of the classes that an entity belongs to (`knowledge/relations.py`), the nearest first.

        Raises:
            UnknownEntityError: the identifier is unknown.
        """
        row = self.row(entity_id)
        return [] if self.beside.relations is None else self.ids(self.beside.relations.above(row))

    def subtypes(self, entity_id: str) -> list[str]:
        """Identifiers of what belongs to a class: its subclasses, the nearest first, then instances of it and of these.

        Raises:
            UnknownEntityError: the identifier is unknown.
        """
        row = self.row(entity_id)
        return [] if self.beside.relations is None else self.ids(self.beside.relations.below_of(row))

    def neighbours(self, entity_id: str, limit: int = 10) -> list[Neighbour]:
        """The entities that are nearest in the graph, by the cosine of coherence vectors; empty without relations.

        All vectors are read, in blocks: a base of millions needs no copy of them in memory.

        Args:
            entity_id: of the entity, which is no neighbour of itself.
            limit: most neighbours.

        Raises:
            UnknownEntityError: the identifier is unknown.
        """
        row = self.row(entity_id)
        return [Neighbour(self.entity(near), cosine) for near, cosine in nearest_rows(self._vectors, row, limit)]

    def link_probability(self, name: str) -> float:
        """How often `name` in a text is a mention at all, 0..1; 0 for an unknown name."""
        key = self.names.get(normalise(name), -1)
        return float(self.link_probabilities[key]) if key >= 0 else 0.0

    def vectors(self, rows: ArrayLike) -> Array:
        """(n, dim) float32 coherence vectors of rows, L2-normalised; zeros where an entity has no relations."""
        return self.stored_vectors(rows).astype(np.float32)

    def stored_vectors(self, rows: ArrayLike) -> Halves:
        """(n, dim) float16 coherence vectors of rows, as they are stored."""
        return self._vectors[np.asarray(rows, np.int64)]


def opened(kb: KnowledgeBase | str | Path, progress: Progress | None = None) -> KnowledgeBase:
    """The knowledge base, opened where its folder was given.

    Raises:
        OpenMofiError: see `KnowledgeBase.open`.
    """
    return KnowledgeBase.open(kb, progress=progress) if isinstance(kb, str | Path) else kb


def _reopen(path: str | Path, fingerprint: str, checked: str) -> KnowledgeBase:
    kb = KnowledgeBase.open(path, checked=checked)
    if kb.fingerprint != fingerprint:
        raise OpenMofiError(
            f"The knowledge base {path} has changed since it was opened: it is {kb.fingerprint}, not {fingerprint}.",
            "Start the command again.",
        )
    return kb


def verify(kb: str | Path, progress: Progress | None = None) -> dict[str, str]:
    """Read all of a knowledge base, whether it was checked before or not.

    Args:
        kb: its folder.
        progress: receives the check, where it takes more than two seconds.

    Returns:
        file → what is wrong with it, `""` for nothing.

    Raises:
        OpenMofiError: it is not a finished knowledge base, or its manifest is damaged.
    """
    folder = layout.mappable(kb)
    manifest = read_manifest(folder, layout.KIND, outdated=layout.REBUILD)
    files = layout.listed_files(folder, manifest)
    problems = layout.wrong_sizes(folder, files)
    if not problems:
        let_settle(folder, files)
        stamp = file_stamp(folder, files, manifest.counts[layout.DIGESTS])
        problems = (
            layout.wrong_digests(folder, manifest, files, progress or Quiet())
            or KnowledgeBase(folder, manifest).wrong_contents()
        )
        note_checked(stamp, passed=not problems)
    return {name: problems.get(name, "") for name in files}

"""The address of an index, and the interfaces to its database and vectors: of SQLite and files, or of a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from openmofi.arrays import Array, Bools, Floats, Ints
from openmofi.errors import OpenMofiError, UsageError
from openmofi.extensions import extension, extension_names, own_part
from openmofi.storage.addresses import in_object_store, is_remote, local_path

_GROUP = "stores"


@dataclass(frozen=True)
class Server:
    """An index in a database server; as text it is the address without its password.

    Attributes:
        shown: the address for people.
    """

    shown: str

    def __str__(self) -> str:
        return self.shown

    @property
    def kind(self) -> StoreKind:
        """The kind of server, which opens it."""
        return extension(_GROUP, self.shown.partition(":")[0])


@dataclass(frozen=True)
class StoreKind:
    """A kind of server that a package adds as an entry point of `openmofi.stores`, by the scheme of its addresses.

    Attributes:
        name: for people.
        parse: reads an address; raises a `UsageError`, which does not repeat it.
        connect: opens an index; raises an `OpenMofiError` where there is none.
        locked: gives the connection of the only writer, and makes the index of the given values where there is none.
    """

    name: str
    parse: Callable[[str], Server]
    connect: Callable[[Server], Connection]
    locked: Callable[[Server, Mapping[str, str] | None], AbstractContextManager[Connection]]


Place = Path | Server


def is_server(given: str | Place) -> bool:
    """Whether a text is the address of a database server."""
    return isinstance(given, Server) or str(given).partition("://")[0] in extension_names(_GROUP)


def place_of(given: str | Place) -> Place:
    """Return a folder, or a server where the address of one is given; of an index in a store, a copy to read.

    Raises:
        UsageError: it is the address of none.
        OpenMofiError: no index is published at the address in a store.
    """
    if isinstance(given, Server):
        return given
    text, names = str(given), extension_names(_GROUP)
    scheme, slashes, rest = text.partition(":/")
    if slashes and scheme in names:
        kind: StoreKind = extension(_GROUP, scheme)
        if rest.startswith("/"):
            return kind.parse(text)
        raise UsageError(
            f"The address of the {kind.name} server has lost a slash: it was made a path.",
            f"Give it as text: '{scheme}://HOST/DATABASE'.",
        )
    if in_object_store(text):
        return Path(own_part("snapshots", "copy")(text))
    if is_remote(given):
        others = "".join(f", or {name}://HOST/DATABASE" for name in names[-1:])
        hint = f"Name a local folder, or an address in a store of objects (s3://…, gs://…, az://…){others}."
        raise UsageError(f"{given} cannot be an index.", hint)
    return local_path(given)


NAMES = """
    WITH named AS ({named})
    SELECT id, name, EXISTS (SELECT 1 FROM aliases WHERE aliases.entity = id AND aliases.name = :alias)
    FROM named JOIN entities USING (number) ORDER BY number"""
"""The statement of `Connection.names_with`, but for its table of numbers of entities."""


def named_so(prefix: bool) -> str:
    """The order of entities by their own names: those of that very `:name` first, with `prefix` those that begin so
    next, all of these behind what images are labelled with, or with what is below it.
    """
    same = "lower(entities.name) <> lower(:name)"
    return f"{_NOT_SHOWN}, {same}, lower(substr(entities.name, 1, length(:name))) <> lower(:name)" if prefix else same


_NOT_SHOWN = """
    NOT EXISTS (SELECT 1 FROM labels WHERE labels.entity = entities.id AND accepted = 1)
    AND NOT EXISTS (SELECT 1 FROM supertypes JOIN labels ON labels.entity = supertypes.entity
      WHERE above = entities.id AND accepted = 1)"""


class UnavailableError(OpenMofiError):
    """The server of an index's database cannot be reached, or has ended the connection; it may be there again soon."""


class Cursor(Protocol):
    """The rows that a statement gives."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""

    def __iter__(self) -> Iterator[Any]: ...

    def fetchone(self) -> Any:
        """The next row, or `None`."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""


@dataclass(frozen=True)
class Effort:
    """How far a query looks.

    Attributes:
        value: cells that are looked into (`nprobe` of FAISS).
        recall: share of the ten nearest that were found with it, of the kind of query with the least.
        queries: by how many it was measured.
        vectors: how many there were.
    """

    value: int
    recall: float
    queries: int
    vectors: int


class VectorIndex(Protocol):
    """Searches L2-normalised vectors by inner product; a position is a row of the vectors that it was made of."""

    @property
    def name(self) -> str:
        """`exact`, FAISS's factory string, or pgvector's."""

    @property
    def effort(self) -> Effort | None:
        """How far a query looks, and what it finds so; `None` where that was not measured, or all are compared."""

    def __len__(self) -> int:
        """How many vectors it holds."""

    def search(self, queries: Array, count: int, allowed: Bools | None = None) -> tuple[Array, Ints]:
        """The nearest of each query.

        Args:
            queries: (q, dim) float32, L2-normalised.
            count: k, how many.
            allowed: (n,) which positions may be found; all where not given.

        Returns:
            (q, k) float32 cosines, falling, and (q, k) int64 positions; −inf and −1 where there are fewer.
        """


class Vectors(VectorIndex, Protocol):
    """The vectors themselves."""

    def scores(self, queries: Array) -> Array:
        """(q, n) float32 cosines of all."""

    def rows(self, positions: Ints) -> Array:
        """(n, dim) float32 vectors at positions."""


@dataclass(frozen=True)
class Segment:
    """Some vectors, written at once.

    Attributes:
        id: its row in the database.
        file: its name, in the folder `vectors` where the index is one.
        rows: how many vectors it has; −1 where that is not noted.
        digest: of its bytes, BLAKE2b, 32 hexadecimal digits.
    """

    id: int
    file: str
    rows: int
    digest: str


class VectorStore(Protocol):
    """Where the segments of an index are kept; what no commit names is seen by no reader."""

    def write(self, vectors: Array, dtype: str, *, entities: bool = False) -> tuple[str, int, str]:
        """Write (n, dim) L2-normalised vectors, of images or of entity texts; name, rows and digest for the database.

        Raises:
            OpenMofiError: they cannot be written.
        """

    def read(self, segment: Segment, dim: int) -> Floats:
        """Read a segment, (rows, dim).

        Raises:
            FileNotFoundError: there is no such file, perhaps since the index was compacted.
            OpenMofiError: it is damaged.
        """

    def row(self, file: str, row: int) -> Array:
        """(dim,) float32, one vector of a segment."""

    def problem(self, segment: Segment) -> str:
        """Read a whole segment; return what is wrong with it, or ""."""

    def keep_only(self, files: set[str]) -> None:
        """Remove all segments but these: those of a process that was killed before its commit, or of old commits."""

    def searched(self, segments: Sequence[Segment], dim: int, connected: Callable[[], Connection]) -> Vectors | None:
        """Return what searches the segments where they are; `None` where they are to be opened, and searched here.

        Args:
            segments: one behind another.
            dim: of a vector.
            connected: the calling thread's connection, later.
        """

    def refresh(self, count: int) -> bool:
        """Make what makes searches of so many vectors fast where they are; `False` where that is done here."""


class Connection(Protocol):
    """A thread's connection to the database of an index. Statements are of the SQL that SQLite and PostgreSQL both
    read, with `?` or `:name` for values; a row is a tuple.
    """

    @property
    def place(self) -> Place:
        """Where the index is."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction was begun and has not ended."""

    @property
    def outdated(self) -> bool:
        """Whether the connection may have missed later commits, so that another one has to be opened."""

    @property
    def column_names(self) -> str:
        """A statement that gives the names of all metadata columns in their order."""

    def execute(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = (), /) -> Cursor:
        """Run a statement; outside a transaction it is one of its own."""

    def executemany(self, statement: str, values: Iterable[Sequence[Any]], /) -> object:
        """Run a statement for each of several rows of values."""

    def vectors(self) -> VectorStore:
        """Where the index's segments of vectors are."""

    def begin(self, *, write: bool) -> None:
        """Begin a transaction; of one that reads, all statements see the same state."""

    def roll_back(self) -> None:
        """Undo what the transaction has done, if one is open."""

    def only_read(self) -> None:
        """Refuse all writing from now on."""

    def close(self) -> None:
        """End the connection."""

    def column(self, name: str) -> str:
        """The expression for an image's metadata column whose name is the value `name`, as text or number."""

    def keep_texts(self, texts: Sequence[tuple[int, str]]) -> None:
        """Let keywords find images by these texts, and by no older ones."""

    def drop_texts(self, images: Sequence[int]) -> None:
        """Let keywords no longer find images."""

    def keep_names(self, names: Sequence[tuple[int, str, str]]) -> None:
        """Let entities be found by these names, and by no older ones: number, name, aliases line by line."""

    def texts_with(self, words: Sequence[str], operator: str, limit: int) -> list[int]:
        """Images whose texts have all (`AND`) or some (`OR`) of the words, best first."""

    def entities_named(self, words: Sequence[str], prefix: bool, name: str, limit: int) -> list[str]:
        """Entities that have all words in a name or alias, the last one as its beginning with `prefix`: by `named_so`,
        then by how many images are labelled with them and how popular they are.
        """

    def names_with(self, words: Sequence[str], alias: str) -> Cursor:
        """Entities that have all words in a name or aliases, in their order: identifier, name, whether that very
        `alias` is one of theirs.
        """

    def problem(self) -> str:
        """Read all tables; return what is wrong with them, or ""."""

    def sizes(self) -> dict[str, int]:
        """Part of the index → bytes."""


def meta(connection: Connection) -> dict[str, str]:
    """Return what holds for the whole index: name → value."""
    return dict(connection.execute("SELECT name, value FROM meta"))

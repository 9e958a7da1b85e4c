"""What the two databases of an index have in common, and what each says in its own way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from openmofi.errors import OpenMofiError
from openmofi.search.store.address import Place

if TYPE_CHECKING:
    from openmofi.search.store.segments import VectorStore

NAMES = """
    WITH named AS ({named})
    SELECT id, name, EXISTS (SELECT 1 FROM aliases WHERE aliases.entity = id AND aliases.name = :alias)
    FROM named JOIN entities USING (number) ORDER BY number"""
"""The statement of `Connection.names_with`, but for its table of numbers of entities."""


def named_so(prefix: bool) -> str:
    """The order of entities by their own names: those of that very `:name` first, with `prefix` those that begin so
    next.
    """
    begins = ", lower(substr(entities.name, 1, length(:name))) <> lower(:name)" if prefix else ""
    return f"lower(entities.name) <> lower(:name){begins}"


class UnavailableError(OpenMofiError):
    """The server of an index's database cannot be reached, or has ended the connection; it may be there again soon."""


class Rows(Protocol):
    """What a statement gives."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""

    def __iter__(self) -> Iterator[Any]: ...

    def fetchone(self) -> Any:
        """The next row, or `None`."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""


class Connection(Protocol):
    """A thread's connection to the database of an index. Statements are of the SQL that SQLite and PostgreSQL both
    read, with `?` or `:name` for values; a row is a tuple.
    """

    @property
    def place(self) -> Place:
        """Where the index is."""

    @property
    def in_transaction(self) -> bool:
        """Whether one was begun and has not ended."""

    @property
    def outdated(self) -> bool:
        """Whether it may have missed later commits, so that another one has to be opened."""

    @property
    def column_names(self) -> str:
        """A statement that gives the names of all metadata columns in their order."""

    def execute(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = (), /) -> Rows:
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
        """Entities that have all words in a name or alias, the last one as its beginning with `prefix`: those of that
        very `name` first, with `prefix` those whose own name begins so next, then by how many images are labelled with
        them and how popular they are.
        """

    def names_with(self, words: Sequence[str], alias: str) -> Rows:
        """Entities that have all words in a name or aliases, in their order: identifier, name, whether that very
        `alias` is one of theirs.
        """

    def problem(self) -> str:
        """What is wrong with the tables, all of which are read; or ""."""

    def sizes(self) -> dict[str, int]:
        """Part of the index → bytes."""


def meta(connection: Connection) -> dict[str, str]:
    """Name → value of what holds for the whole index."""
    return dict(connection.execute("SELECT name, value FROM meta"))

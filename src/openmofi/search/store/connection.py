"""The address of an index, and the interface to its database, which SQLite and servers implement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from openmofi.errors import OpenMofiError, UsageError
from openmofi.extensions import extension, extension_names
from openmofi.storage.addresses import is_remote, local_path

if TYPE_CHECKING:
    from openmofi.search.store.vectors import VectorStore


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
        kind: StoreKind = extension(_GROUP, self.shown.partition(":")[0])
        return kind


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
    """Return a folder, or a server where the address of one is given.

    Raises:
        UsageError: it is the address of neither.
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
    if is_remote(given):
        others = "".join(f", or {name}://HOST/DATABASE" for name in names[-1:])
        raise UsageError(f"{given} cannot be an index.", f"Name a local folder{others}.")
    return local_path(given)


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
        """Entities that have all words in a name or alias, the last one as its beginning with `prefix`: those of that
        very `name` first, with `prefix` those whose own name begins so next, then by how many images are labelled with
        them and how popular they are.
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

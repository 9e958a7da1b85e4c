"""Where an index is: in a folder, or in a database server that a package adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openmofi.errors import UsageError
from openmofi.extensions import extension, extension_names
from openmofi.storage.addresses import is_remote, local_path

if TYPE_CHECKING:
    from openmofi.search.store.connection import Connection

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
        """How it is opened."""
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
    """Whether it is the address of a database server."""
    return isinstance(given, Server) or str(given).partition("://")[0] in extension_names(_GROUP)


def place_of(given: str | Place) -> Place:
    """A folder, or a server where the address of one is given.

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

"""Where an index is kept: in a folder, or in a schema of a PostgreSQL database."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from openmofi.errors import UsageError
from openmofi.storage.addresses import is_remote, local_path

_PROTOCOLS = ("postgresql://", "postgres://")
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SHOWN = ("host", "port", "dbname", "user")


@dataclass(frozen=True)
class Server:
    """An index in a PostgreSQL database; as text it is the address without its password.

    Attributes:
        url: what libpq connects to, with the password where one was given.
        password: where it was given; never shown.
        shown: the address for people.
        schema: that holds the tables of the index.
    """

    url: str = field(repr=False)
    password: str = field(repr=False)
    shown: str
    schema: str

    def __str__(self) -> str:
        return self.shown

    @classmethod
    def parse(cls, address: str) -> Server:
        """An address `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME`, all of it but the protocol optional;
        what is left out libpq takes from its environment and from ~/.pgpass.

        Raises:
            UsageError: it cannot be understood. The message does not repeat it.
        """
        parts = urlsplit(address)
        login, _, host = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        if "#" in address or any(mark in login for mark in "@[]") or address.count("@") != bool(login):
            raise UsageError(
                "The address of the PostgreSQL server cannot be understood: its user or password has a "
                "mark that means something else there.",
                "Write such marks as %40 (@), %23 (#), %2F (/), or keep the password in ~/.pgpass.",
            )
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        schema = given.pop("schema", "openmofi")
        if not _SCHEMA.fullmatch(schema):
            raise UsageError(
                f"{schema!r} cannot be the schema of an index.", "Write small letters, digits and _, at most 63."
            )
        seen = {name: value for name, value in given.items() if name in _SHOWN}
        if schema != "openmofi":
            seen["schema"] = schema
        shown = urlunsplit(
            (
                "postgresql",
                f"{user}@{host}" if user else host,
                parts.path,
                urlencode(seen, quote_via=quote, safe="/"),
                "",
            )
        )
        if not parts.netloc:  # urlunsplit leaves the slashes out
            shown = f"postgresql://{shown.removeprefix('postgresql:').removeprefix('//')}"
        return cls(
            f"postgresql://{parts.netloc}{parts.path}?{urlencode(given, quote_via=quote)}",
            unquote(password) or given.get("password", ""),
            shown,
            schema,
        )


Place = Path | Server


def is_server(given: str | Place) -> bool:
    """Whether it is the address of a PostgreSQL server."""
    return isinstance(given, Server) or str(given).startswith(_PROTOCOLS)


def place_of(given: str | Place) -> Place:
    """A folder, or a server where the address of one is given.

    Raises:
        UsageError: it is the address of neither.
    """
    if isinstance(given, Server):
        return given
    if is_server(given):
        return Server.parse(str(given))
    if str(given).startswith(("postgresql:/", "postgres:/")):
        raise UsageError(
            "The address of the PostgreSQL server has lost a slash: it was made a path.",
            "Give it as text: 'postgresql://HOST/DATABASE'.",
        )
    if is_remote(given):
        raise UsageError(f"{given} cannot be an index.", "Name a local folder, or postgresql://HOST/DATABASE.")
    return local_path(given)

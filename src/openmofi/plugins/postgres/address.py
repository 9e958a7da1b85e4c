"""Addresses of indexes in PostgreSQL."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from openmofi.errors import UsageError
from openmofi.search.store.connection import Server

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SHOWN = ("host", "port", "dbname", "user")


@dataclass(frozen=True)
class PostgresServer(Server):
    """An index in a schema of a PostgreSQL database.

    Attributes:
        url: what libpq connects to, with the password where one was given.
        password: where it was given; never shown.
        schema: that holds the tables of the index.
    """

    url: str = field(repr=False)
    password: str = field(repr=False)
    schema: str

    @classmethod
    def parse(cls, address: str) -> PostgresServer:
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
        displayed = urlunsplit(
            (
                "postgresql",
                f"{user}@{host}" if user else host,
                parts.path,
                urlencode(seen, quote_via=quote, safe="/"),
                "",
            )
        )
        if not parts.netloc:  # urlunsplit leaves the slashes out
            displayed = f"postgresql://{displayed.removeprefix('postgresql:').removeprefix('//')}"
        return cls(
            displayed,
            f"postgresql://{parts.netloc}{parts.path}?{urlencode(given, quote_via=quote)}",
            unquote(password) or given.get("password", ""),
            schema,
        )

    def why(self, error: BaseException) -> str:
        """Return what the server says, in one line without the password."""
        text = str(error).partition("\n\tIs the server")[0]
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        said = " ".join(
            line for line in lines if not line.startswith(("LINE ", "^", "CONTEXT:", "Multiple connection"))
        )
        for before, after in ((self.password, "…"), ("FATAL:  ", ""), ("  ", " ")):
            said = said.replace(before, after) if before else said
        return said.rstrip(".")

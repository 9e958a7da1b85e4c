"""Indexes in PostgreSQL with pgvector. Needs the extra `postgres`."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from openmofi.plugins.postgres.address import PostgresServer
from openmofi.search.store.connection import Connection, Server, StoreKind


def _connect(server: Server) -> Connection:
    from openmofi.plugins.postgres.database import connect

    assert isinstance(server, PostgresServer)
    return connect(server)


@contextmanager
def _locked(server: Server, new: Mapping[str, str] | None) -> Generator[Connection]:
    from openmofi.plugins.postgres.database import locked

    assert isinstance(server, PostgresServer)
    if new is None:
        _connect(server).close()  # says so where there is no index
    with locked(server) as connection:
        if new is not None:
            connection.create(new)
        yield connection


STORE = StoreKind("PostgreSQL", PostgresServer.parse, _connect, _locked)

"""No waiting for the disk in the tests' processes and their forks: only a machine that fails loses what was not synced.

A process that is killed loses nothing that it wrote. The jobs of the suite sync some fifty files each; a third of the
time of small ones is waiting for that.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest


def _without_waiting(file: Any) -> None:
    """As `os.fsync`, which refuses what is no open file."""
    os.fstat(file if isinstance(file, int) else file.fileno())


os.fsync = _without_waiting


@pytest.fixture(autouse=True, scope="session")
def unsynced_sqlite() -> Iterator[None]:
    """The same for SQLite, which syncs by itself."""
    from openmofi.search.store import reading, sqlite

    def unsynced(*arguments, **options):
        connection = opened(*arguments, **options)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    opened = sqlite.opened
    with pytest.MonkeyPatch.context() as patch:
        for module in (reading, sqlite):
            patch.setattr(module, "opened", unsynced)
        yield

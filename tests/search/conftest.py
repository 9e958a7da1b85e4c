from collections.abc import Iterator

import pytest
from index_fixtures import (  # noqa: F401
    backend,
    colour_kb,
    images,
    index,
    new_place,
    place,
    postgres,
    pytest_generate_tests,
)


@pytest.fixture(autouse=True, scope="session")
def _without_waiting_for_the_disk() -> Iterator[None]:
    """As tests/unsynced.py: SQLite syncs by itself."""
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

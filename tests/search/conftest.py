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

from unsynced import unsynced_sqlite  # noqa: F401

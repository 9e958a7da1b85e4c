"""The web that tests fetch from."""

import pytest
from bad_web import bad_web


@pytest.fixture(scope="module")
def web():
    with bad_web() as server:
        yield server

"""What the server's tests share: an index of colours with labels, and a client of a server over it."""

import pytest
from served_world import labelled_index, served


@pytest.fixture
def index(tmp_path):
    return labelled_index(tmp_path)


@pytest.fixture
def client(index):
    with served(index) as client:
        yield client

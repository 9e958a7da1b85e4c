import secrets
from pathlib import Path

import pytest
from postgres_server import PostgresServer, why_none
from search_world import colour_encoder, write_colour_kb, write_images

from openmofi.knowledge import KnowledgeBase
from openmofi.search import Index, build


def pytest_generate_tests(metafunc):
    """The contract of both backends: tests of files that say `ON_BOTH_BACKENDS` build their index in each."""
    if "backend" in metafunc.fixturenames and getattr(metafunc.module, "ON_BOTH_BACKENDS", False):
        metafunc.parametrize("backend", ["folder", "postgres"], indirect=True)


@pytest.fixture(scope="session")
def colour_kb(tmp_path_factory) -> Path:
    return write_colour_kb(tmp_path_factory.mktemp("kb") / "kb")


@pytest.fixture
def images(tmp_path) -> Path:
    return write_images(tmp_path / "images")


@pytest.fixture(scope="session")
def postgres():
    """One server for all tests of a process; each has a schema of its own."""
    if why := why_none():
        pytest.skip(why)
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def backend(request) -> str:
    """A folder, where a test does not ask for both."""
    return getattr(request, "param", "folder")


@pytest.fixture
def new_place(backend, tmp_path, request):
    """Makes places for new indexes."""
    if backend == "folder":
        return lambda: tmp_path / f"index-{secrets.token_hex(4)}"
    server = request.getfixturevalue("postgres")
    return lambda: server.address(f"t_{secrets.token_hex(6)}")


@pytest.fixture
def place(new_place):
    """Where an index may be built."""
    return new_place()


@pytest.fixture
def index(images, colour_kb, place) -> Index:
    """Five images of each colour, with texts; the knowledge base of colours."""
    encoder = colour_encoder()
    build([str(images)], encoder, place, kb=KnowledgeBase.open(colour_kb))
    opened = Index.open(place, encoder)
    yield opened
    opened.close()

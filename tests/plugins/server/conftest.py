"""What the server's tests share: an index of colours with labels, and a client of a server over it."""

import json
import os
import shutil
from pathlib import Path

import pytest
import served_world
from search_world import colour_encoder
from served_world import labelled_index, served

from forked import Fork
from openmofi.search import Index
from unsynced import unsynced_sqlite  # noqa: F401

PROGRAM = Path(served_world.__file__)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A folder with images, and an index of them that nobody may change."""
    folder = tmp_path_factory.mktemp("served")
    labelled_index(folder).close()
    return folder


@pytest.fixture
def index(world, tmp_path):
    """One that may be changed; its images may not."""
    shutil.copytree(world / "index", tmp_path / "index")
    return Index.open(tmp_path / "index", colour_encoder())


@pytest.fixture
def client(index):
    with served(index) as client:
        yield client


@pytest.fixture(scope="module")
def reader(world):
    """A client of requests that change nothing."""
    with served(Index.open(world / "index", colour_encoder()), rate=0) as client:
        yield client


@pytest.fixture
def started(world):
    """Start a server, whose texts take as many seconds to embed, and which may open so many files; its address."""
    processes = []

    def start(slow=0, files=0, folder=world, **settings):
        surroundings = {"SLOW": str(slow), "FILES": str(files), "SETTINGS": json.dumps(settings)}
        processes.append(process := Fork(PROGRAM, folder, env=os.environ | surroundings))
        return process, process.line().strip()

    yield start
    for process in processes:
        process.kill()
        process.communicate()

from pathlib import Path

import pytest
from search_world import colour_encoder, write_colour_kb, write_images

from openmofi.knowledge import KnowledgeBase
from openmofi.search import Index, build


@pytest.fixture(scope="session")
def colour_kb(tmp_path_factory) -> Path:
    return write_colour_kb(tmp_path_factory.mktemp("kb") / "kb")


@pytest.fixture
def images(tmp_path) -> Path:
    return write_images(tmp_path / "images")


@pytest.fixture
def index(images, colour_kb, tmp_path) -> Index:
    """Five images of each colour, with texts; the knowledge base of colours."""
    encoder = colour_encoder()
    build([str(images)], encoder, tmp_path / "index", kb=KnowledgeBase.open(colour_kb))
    return Index.open(tmp_path / "index", encoder)

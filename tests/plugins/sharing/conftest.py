import pytest
from kb_tables import write_source

from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.plugins.sharing import sources
from openmofi.plugins.sharing.publish import publish_kb

PART = 4096
"""Bytes of a part: the base then has several."""


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "_WAIT", 0.0)
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def kb(tmp_path_factory) -> KnowledgeBase:
    """A small base, with a list of its sources."""
    folder = tmp_path_factory.mktemp("base")
    source = write_source(folder / "source")
    (source / "ATTRIBUTION.md").write_text("# Made of\n\nBirds, CC BY 4.0.\n")
    build_table(source, folder / "kb")
    return KnowledgeBase.open(folder / "kb")


@pytest.fixture(scope="session")
def published(kb, tmp_path_factory):
    """The folder that it is published in; tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("published") / "base"
    publish_kb(kb, folder, licence="CC-BY-4.0", part_size=PART)
    return folder

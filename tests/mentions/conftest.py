import pytest
from kb_tables import write_source

from openmofi.knowledge import build_table


@pytest.fixture(scope="session")
def kb_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mentions")
    build_table(write_source(folder / "source"), folder / "kb")
    return folder / "kb"

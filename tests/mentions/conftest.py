import sys
from pathlib import Path

import pytest

from openmofi.knowledge import build_table

sys.path.insert(0, str(Path(__file__).parents[1] / "knowledge"))
from kb_tables import write_source


@pytest.fixture(scope="session")
def kb_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mentions")
    build_table(write_source(folder / "source"), folder / "kb")
    return folder / "kb"

"""The workbench, made once a test run."""

import pytest

from conftest import made_once
from hostile.workbench import Workbench, make_workbench


@pytest.fixture(scope="session")
def bench(tmp_path_factory) -> Workbench:
    return Workbench(made_once(tmp_path_factory, "workbench", make_workbench))

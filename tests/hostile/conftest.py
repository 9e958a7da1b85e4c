"""The workbench, made once a test run."""

import pytest

from conftest import made_once
from hostile.strangers import SPECS
from hostile.workbench import Workbench, make_workbench


@pytest.fixture(scope="session")
def bench(tmp_path_factory) -> Workbench:
    return Workbench(made_once(tmp_path_factory, "workbench", make_workbench))


@pytest.fixture(scope="session")
def sound(bench, tmp_path_factory):
    """Makes a sound folder of a spec, once."""
    made = {}

    def folder_of(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "sound"
            SPECS[name].make(bench, made[name])
        return made[name]

    return folder_of

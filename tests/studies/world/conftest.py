import pytest

from openmofi.engine import LocalEngine
from studies.world.images.gather import gather
from studies.world.world import build_world
from studies.world.world_settings import world_settings


@pytest.fixture(scope="session")
def whole(sources):
    """Everything that the sources say, nothing left out."""
    from studies.world.world_settings import WorldSettings

    return gather(sources, WorldSettings())


@pytest.fixture(scope="session")
def small_settings():
    return world_settings(max_entities=24)


@pytest.fixture(scope="session")
def small_world(sources, small_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "world"
    build_world(sources, folder, small_settings, LocalEngine())
    return folder

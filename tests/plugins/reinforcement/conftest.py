import pytest


@pytest.fixture(scope="session")
def teachers(small_encoder):
    from openmofi.plugins.reinforcement import TeacherSpec

    return (TeacherSpec(small_encoder, 30.0),)


@pytest.fixture(scope="session")
def shards(small_world):
    from openmofi.storage import expand_shards

    return expand_shards([str(small_world.shards)])

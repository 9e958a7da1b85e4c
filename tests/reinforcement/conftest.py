import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def teachers(small_encoder):
    from openmofi.reinforcement import TeacherSpec

    return (TeacherSpec(small_encoder, 30.0),)


@pytest.fixture(scope="session")
def shards(small_world):
    from openmofi.storage import expand_shards

    return expand_shards([str(small_world.shards)])

"""What the label job's tests and the commands' tests share: the small world, its encoder, its labels."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from small_world import SmallWorld, make_small_world


@pytest.fixture(scope="session")
def small_world(tmp_path_factory) -> SmallWorld:
    return make_small_world(tmp_path_factory.mktemp("small-world"))


@pytest.fixture(scope="session")
def small_encoder(small_world, tmp_path_factory) -> str:
    """An encoder trained on the small world's links, calibrated there; its spec."""
    from openmofi.engine import Quiet
    from openmofi.labeling.heads import HeadSettings
    from openmofi.sample.encoder import EncoderRecipe, train_sample_encoders
    from openmofi.storage import expand_shards

    folder = tmp_path_factory.mktemp("small-encoder")
    recipe = EncoderRecipe("heads", HeadSettings(batch_size=64, epochs=30, dim=64))
    train_sample_encoders(expand_shards([str(small_world.shards)]), small_world.kb, folder, cache=folder / "cache",
                          progress=Quiet(), recipes=[recipe])
    return f"run:{folder / 'heads'}"


@pytest.fixture(scope="session")
def labelled(small_world, small_encoder, tmp_path_factory) -> Path:
    """The small world's labels, with links and features beside them."""
    from openmofi.labeling import LabelSettings, label
    from openmofi.storage import expand_shards

    out = tmp_path_factory.mktemp("labels") / "out"
    label(expand_shards([str(small_world.shards)]), small_world.kb, out, LabelSettings(small_encoder))
    return out

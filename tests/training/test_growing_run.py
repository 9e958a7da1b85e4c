"""Runs whose images grow: as runs of one size where they have one, stopped and gone on with, and what is written."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import openmofi.training.loop as loop_module
from openmofi.encoders import open_encoder
from openmofi.errors import UsageError
from openmofi.training.recipe import EvaluateSettings

from .rank_process import grown_recipe
from .small_runs import InterruptAt, differences, losses, same, stored, trained
from .test_run_distributed import on_ranks

pytestmark = pytest.mark.slow

TOWERS = {"resnet": {"spec": "timm:test_resnet"}, "vit": {}}


@pytest.fixture
def sides(monkeypatch):
    """Sides of the images of each step that is trained."""
    seen, true = [], loop_module.forward_backward

    def watched(model, forward, terms, batch, **more):
        seen.append(tuple(batch["image"].shape[2:]))
        return true(model, forward, terms, batch, **more)

    monkeypatch.setattr(loop_module, "forward_backward", watched)
    return seen


@pytest.mark.parametrize("tower", TOWERS)
def test_a_run_of_one_size_is_the_same_to_the_bit(make, tmp_path, tower):
    for name, sizes in (("plain", ()), ("grown", (32,))):
        trained(make("multi_sampled", image={**TOWERS[tower], "first_sizes": sizes}), tmp_path / name)
    assert losses(tmp_path / "plain") == losses(tmp_path / "grown")
    assert same(*(stored(tmp_path / name, 6) for name in ("plain", "grown")))


@pytest.mark.parametrize("scale", [(0.4, 1.0), (1.0, 1.0)])
def test_the_first_steps_are_those_of_a_run_of_that_size(make, tmp_path, scale):
    recipe = make("sampled", image={"spec": "timm:test_resnet", "first_sizes": (16, 24), "first_share": 0.67})
    recipe = replace(recipe, data=replace(recipe.data, augment=replace(recipe.data.augment, scale=scale)))
    trained(recipe, tmp_path / "grown")
    small = replace(recipe.model.image, size=16, first_sizes=())
    trained(replace(recipe, model=replace(recipe.model, image=small)), tmp_path / "small")
    grown, small = losses(tmp_path / "grown"), losses(tmp_path / "small")
    assert [grown[step] == small[step] for step in range(1, 7)] == [True, True, False, False, False, False]


@pytest.mark.parametrize("stop", [2, 3])
def test_a_stopped_run_goes_on_to_the_bit_at_the_right_size_with_other_workers(make, tmp_path, sides, stop):
    image = {"first_sizes": (16,), "first_share": 0.5, "drop_path": 0.3}
    recipe = make("multi_sampled", image=image, data={"workers": 2}, run={"accumulate": 2})
    trained(recipe, tmp_path / "whole")
    assert sides == [(16, 16)] * 3 + [(32, 32)] * 3
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, tmp_path / "parts", watcher=InterruptAt(stop))
    trained(replace(recipe, data=replace(recipe.data, workers=0)), tmp_path / "parts", resume=True)
    assert sides[6:] == sides[:6]
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    assert not differences(*(stored(tmp_path / name, 6) for name in ("whole", "parts")))


@pytest.fixture(scope="module")
def ranks(make, tmp_path_factory):
    """Runs on two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    on_ranks(folder, make, 2, "grow")
    return folder


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("spread", ["ddp", "fsdp"])
def test_ranks_learn_what_one_process_learns_and_go_on_where_images_grow(ranks, make, tmp_path, spread, compiled):
    recipe = grown_recipe(make, "ddp", compiled)
    trained(replace(recipe, run=replace(recipe.run, compile=False)), tmp_path)
    parts, whole = ranks / f"grown-parts-{spread}-{compiled}", ranks / f"grown-{spread}-{compiled}"
    assert losses(parts) == pytest.approx(losses(tmp_path), rel=1e-4)
    if not compiled:
        assert losses(parts) == losses(whole)
        assert not differences(stored(parts, 4), stored(whole, 4))


def test_evaluations_and_the_encoder_see_whole_images(make, tmp_path):
    evaluate = EvaluateSettings(every=2, loss=True, retrieval=True, held_out=0.3)
    image = {"spec": "timm:vit_tiny_patch16_224", "first_sizes": (16,)}
    recipe = make("multi_task", image=image, run={"evaluate": evaluate, "steps": 4})
    trained(recipe, tmp_path / "grown")
    encoder = open_encoder(f"run:{tmp_path / 'grown/encoder'}")
    assert encoder.preprocessing.size == 32
    pixels = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    assert encoder.image_features(pixels).shape == (2, 8)
    with pytest.raises(AssertionError):
        # It is the tower that it would be without: of one size.
        encoder.image_features(pixels[:, :, :16, :16])


def test_a_tower_that_cannot_is_refused_before_the_folder_is_claimed(make, tmp_path):
    with pytest.raises(UsageError, match=r"test_vit takes no images of 20 pixels"):
        trained(make(image={"spec": "timm:test_vit", "first_sizes": (20,)}), tmp_path / "run")
    assert not (tmp_path / "run").exists()

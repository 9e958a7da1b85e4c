"""Whole runs in one process: what is learned, logged, kept and exported, and how a run goes on."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import openmofi.training.run as run_module
from openmofi.encoders import open_encoder
from openmofi.errors import OpenMofiError
from openmofi.storage import read_manifest
from openmofi.training.data import open_data
from openmofi.training.log import read_log
from openmofi.training.model import build_model, inputs_of

from .small_runs import InterruptAt, losses, poisoned, same, stored, trained

STOCHASTIC = {"image": {"drop_path": 0.3, "feature_dropout": 0.3}}


def whole_and_resumed(recipe, folder, stop=2, **changed):
    """The final state and losses of an uninterrupted run and of one that was interrupted and resumed."""
    trained(recipe, folder / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, folder / "parts", watcher=InterruptAt(stop))
    assert max(losses(folder / "parts")) == stop
    trained(replace(recipe, data=replace(recipe.data, **changed)), folder / "parts", resume=True)
    return [(losses(folder / name), stored(folder / name, recipe.run.steps)) for name in ("whole", "parts")]


@pytest.mark.parametrize(("kind", "more"), [
    ("multi_sampled", STOCHASTIC | {"run": {"accumulate": 2, "steps": 4}}),
    ("sampled", {"locked": True, "image": {"feature_dropout": 0.3}, "optimizer": {"head": "row-adagrad"}}),
    ("exact", {"image": {"spec": "timm:test_resnet"}, "run": {"steps": 4}}),
])
def test_a_stopped_run_goes_on_to_the_bit(make, tmp_path, kind, more):
    whole, parts = whole_and_resumed(make(kind, **more), tmp_path)
    assert whole[0] == parts[0]
    assert same(whole[1], parts[1])
    assert len(set(whole[0].values())) == len(whole[0])
    assert {name.split(".")[0] for name in whole[1]} == {"model", "objective", "optimizer", "ema"}
    if "sampled" in kind:
        assert int(whole[1]["objective.margin_softmax.step"]) == max(whole[0])


@pytest.mark.slow
@pytest.mark.parametrize("locked", [False, True])
def test_a_stopped_run_goes_on_to_the_bit_with_workers(make, tmp_path, locked):
    image = {"feature_dropout": 0.3} | ({} if locked else {"drop_path": 0.3})
    recipe = make("multi_sampled", locked=locked, image=image, data={"workers": 2}, run={"steps": 5})
    whole, parts = whole_and_resumed(recipe, tmp_path)
    assert whole[0] == parts[0]
    assert same(whole[1], parts[1])
    # The number of workers is free, and decides nothing.
    other = whole_and_resumed(replace(recipe, data=replace(recipe.data, workers=0)), tmp_path / "free", workers=2)
    assert other[0][0] == other[1][0] == whole[0]

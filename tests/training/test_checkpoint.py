"""Checkpoints: complete or not there, the last and the best of them, damaged ones, and a disk that is full."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from openmofi.errors import OpenMofiError
from openmofi.training import checkpoint as checkpoint_module
from openmofi.training.checkpoint import Checkpoints, Progressed
from openmofi.training.distributed import Ranks
from openmofi.training.model import Ema
from openmofi.training.optimization import dense_optimizer
from openmofi.training.recipe import OptimizerSettings
from openmofi.training.state import RunState

from ..storage.mounts import read_only, small_disk
from .small_runs import InterruptAt, losses, trained


def a_state(width=3, seed=0, steps=2):
    """A model with an optimiser that has stepped, and an average."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(width, 4), nn.BatchNorm1d(4))
    names, parameters = zip(*model.named_parameters(), strict=True)
    optimizer = dense_optimizer(
        [{"params": list(parameters), "names": list(names), "lr_scale": 1.0, "weight_decay": 0.1}],
        OptimizerSettings(),
        0.0,
    )
    state = RunState(model, {}, {"towers": optimizer}, Ema(model, 0.9), Ranks(0, 1, torch.device("cpu"), None))
    for _ in range(steps):
        model(torch.randn(5, width)).square().sum().backward()
        optimizer.inner.step()
        state.ema.update(model)
    return state


def bits(state):
    return {name: value.clone() for name, value in state.tensors().items()}


def test_what_is_saved_is_loaded_to_the_bit(tmp_path):
    kept, saved = Checkpoints(tmp_path, keep=2, best="-loss"), a_state()
    kept.save(saved, Progressed(7, {"loss": 0.25}))
    fresh = a_state(seed=1, steps=0)
    assert kept.load(fresh, 7) == Progressed(7, {"loss": 0.25}, (0.25, 7))
    found, expected = bits(fresh), bits(saved)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert "optimizer.towers.0.weight.exp_avg_sq" in expected
    assert int(expected["ema.updates"]) == 2
    # The loaded optimiser goes on as the saved one does.
    for state in (saved, fresh):
        state.model.zero_grad()
        state.model(torch.ones(4, 3) * torch.arange(4)[:, None]).square().sum().backward()
        state.optimizers["towers"].inner.step()
    assert all(torch.equal(a, b) for a, b in zip(saved.model.parameters(), fresh.model.parameters(), strict=True))


def test_the_weights_before_training_have_their_share_and_are_kept(tmp_path):
    def state_of(seed, start):
        return replace(a_state(seed=seed), ema=None, start={"0.weight": start}, start_share=0.25)

    kept, saved = Checkpoints(tmp_path, keep=1, best="-loss"), state_of(0, torch.ones(4, 3))
    weights = saved.weights()
    torch.testing.assert_close(weights["0.weight"], 0.75 * saved.model[0].weight.detach() + 0.25)
    assert torch.equal(weights["0.bias"], saved.model[0].bias)
    kept.save(saved, Progressed(1))
    resumed = state_of(1, torch.zeros(4, 3))
    kept.load(resumed, 1)
    assert all(torch.equal(value, weights[name]) for name, value in resumed.weights().items())


@pytest.mark.parametrize(
    ("best", "values", "top", "expected"),
    [
        ("-loss", [3.0, 1.0, 2.0, 4.0, 1.5], 2, {2, 4, 5}),
        ("accuracy", [0.1, 0.9, 0.2, 0.3, 0.4], 2, {2, 4, 5}),
        ("accuracy", [0.1, 0.9, 0.2, 0.9, 0.4], 2, {2, 4, 5}),
        ("-loss", [5.0, 4.0, 3.0, 2.0, 1.0], 5, {4, 5}),
        ("-loss", [5.0, 1.0, None, 0.5, None], 4, {4, 5}),
        ("missing", [5.0, 1.0, 2.0, 0.5, 0.1], None, {4, 5}),
    ],
)
def test_the_last_and_the_best_stay(tmp_path, best, values, top, expected):
    kept, state, progressed = Checkpoints(tmp_path, keep=2, best=best), a_state(), Progressed(0)
    name = "other" if best == "missing" else best.removeprefix("-")
    for step, value in enumerate(values, 1):
        metrics = {} if value is None else {name: value}
        progressed = kept.save(state, Progressed(step, metrics, progressed.best))
    assert set(kept.steps()) == expected
    assert (None if progressed.best is None else progressed.best[1]) == top
    if top is not None:
        assert json.loads((tmp_path / "best.json").read_text()) == {
            "metric": name,
            "value": progressed.best[0],
            "step": top,
        }
    assert not (tmp_path / ".writing").exists()


def test_what_is_half_written_is_no_checkpoint(tmp_path):
    kept = Checkpoints(tmp_path, keep=2, best="-loss")
    assert kept.steps() == []
    for name in (".writing", "step-00000003x", "step-3", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / ".writing/left").write_text("from a process that was killed")
    assert kept.steps() == []
    kept.save(a_state(), Progressed(5))
    assert kept.steps() == [5]
    assert not (kept.path(5) / "left").exists()


@pytest.mark.parametrize("where", ["before", "data", "state", "rename"])
def test_a_process_killed_while_it_writes_leaves_the_checkpoint_before(tmp_path, where):
    kept = Checkpoints(tmp_path, keep=2, best="-loss")
    kept.save(a_state(), Progressed(1, {"loss": 1.0}))
    later = a_state(seed=1)
    child = os.fork()
    if child == 0:
        try:

            def die(*_, **__):
                os.kill(os.getpid(), signal.SIGKILL)

            target, name = {
                "before": (checkpoint_module.dcp, "save"),
                "data": (os, "fsync"),
                "state": (checkpoint_module, "write_json"),
                "rename": (Path, "replace"),
            }[where]
            setattr(target, name, die)
            kept.save(later, Progressed(2, {"loss": 0.5}))
        finally:
            # Whatever comes, the child must not go on as a second test run.
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert kept.steps() == [1]
    fresh = a_state(seed=2, steps=0)
    assert kept.load(fresh, 1).step == 1
    assert all(torch.equal(value, bits(fresh)[name]) for name, value in bits(a_state()).items())
    kept.save(fresh, Progressed(2))
    assert kept.steps() == [1, 2]


def damaged(path, how):
    data = next(path.glob("*.distcp"))
    if how == "truncated data":
        data.write_bytes(data.read_bytes()[:-200])
    elif how == "no data":
        data.unlink()
    elif how == "no index":
        (path / "index.json").unlink()
    elif how == "truncated index":
        (path / "index.json").write_bytes((path / "index.json").read_bytes()[:50])
    elif how == "no state":
        (path / "state.json").unlink()
    elif how == "odd state":
        (path / "state.json").write_text("[]")


@pytest.mark.parametrize("how", ["truncated data", "no data", "no index", "truncated index", "no state", "odd state"])
def test_a_damaged_checkpoint_is_told_in_a_sentence(tmp_path, how):
    kept = Checkpoints(tmp_path, keep=2, best="-loss")
    kept.save(a_state(), Progressed(4))
    damaged(kept.path(4), how)
    with pytest.raises(OpenMofiError, match=r"step-00000004.* cannot be read: .*\.$") as caught:
        kept.load(a_state(), 4)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "RANK" not in str(caught.value)


def test_another_model_is_told(tmp_path):
    kept = Checkpoints(tmp_path, keep=2, best="-loss")
    kept.save(a_state(), Progressed(4))
    more = a_state()
    more.model.append(nn.Linear(2, 2))
    with pytest.raises(OpenMofiError, match=r"does not fit the recipe: model\.2\.bias and 1 more"):
        kept.load(more, 4)
    with pytest.raises(OpenMofiError, match="cannot be read"):
        kept.load(a_state(width=5), 4)


def test_a_full_disk_keeps_the_checkpoints_before(tmp_path):
    with small_disk(tmp_path / "disk", "400k") as disk:
        kept, small, large = Checkpoints(disk / "run", keep=5, best="-loss"), a_state(), a_state(width=9000)
        kept.save(small, Progressed(1))
        with pytest.raises(OpenMofiError, match="step-00000002 could not be written: the disk is full") as caught:
            kept.save(large, Progressed(2))
        assert "\n" not in str(caught.value)
        assert kept.steps() == [1]
        assert not (disk / "run/.writing").exists()
        kept.load(small, 1)
        kept.save(small, Progressed(2))
        assert kept.steps() == [1, 2]


def test_a_read_only_disk_is_told(tmp_path):
    (tmp_path / "disk").mkdir()
    with read_only(tmp_path / "disk") as disk, pytest.raises(OpenMofiError, match=r"could not be written: .*Read-only"):
        Checkpoints(disk / "run", keep=1, best="-loss").save(a_state(), Progressed(1))


def test_a_full_disk_in_a_run(make, tmp_path):
    recipe = make("exact", image={"spec": "timm:test_vit"}, run={"steps": 4, "checkpoint_every": 1, "keep": 9})
    with small_disk(tmp_path / "disk", "16m") as disk:
        with pytest.raises(OpenMofiError, match="could not be written: the disk is full"):
            trained(recipe, disk / "run")
        kept = Checkpoints(disk / "run/checkpoints", keep=9, best="-loss").steps()
        assert kept
        assert kept[-1] < 4
        for path in (disk / "run/checkpoints").glob("step-*"):
            assert (path / "state.json").is_file()


def test_a_damaged_checkpoint_removed_gives_way_to_the_one_before(make, tmp_path):
    recipe, out = make("exact", run={"steps": 5, "checkpoint_every": 1}), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, out, watcher=InterruptAt(3))
    damaged(out / "checkpoints/step-00000003", "truncated data")
    with pytest.raises(OpenMofiError, match=r"step-00000003 cannot be read.*Remove its folder"):
        trained(recipe, out, resume=True)
    for path in (out / "checkpoints/step-00000003").iterdir():
        path.unlink()
    (out / "checkpoints/step-00000003").rmdir()
    trained(recipe, out, resume=True)
    trained(recipe, tmp_path / "whole")
    assert losses(out) == losses(tmp_path / "whole")

"""Fine-tuning runs: a length in epochs, towers that are frozen at first, adapters; each stopped and resumed."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import openmofi.training.run as run_module
from openmofi.encoders import open_encoder
from openmofi.errors import OpenMofiError, UsageError
from openmofi.storage import read_manifest
from openmofi.training.evaluators import HeldOutEvaluator
from openmofi.training.log import Unwatched
from openmofi.training.recipe import EvaluateSettings, Lora

from .small_runs import InterruptAt, differences, losses, same, stored, trained

pytestmark = pytest.mark.slow
ROWS, BATCH = 43, 12


def stopped_and_resumed(recipe, folder, stop, last):
    """Assert that a run that is stopped after `stop` steps goes on to the same bits as one that is not."""
    trained(recipe, folder / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, folder / "parts", watcher=InterruptAt(stop))
    trained(recipe, folder / "parts", resume=True)
    assert losses(folder / "whole") == losses(folder / "parts")
    assert not differences(stored(folder / "whole", last), stored(folder / "parts", last))


def test_epochs_are_steps_once_the_rows_are_known(make, tmp_path):
    recipe = make("exact", run={"steps": None, "epochs": 1.5})
    last = round(1.5 * ROWS / BATCH)
    stopped_and_resumed(recipe, tmp_path, 2, last)
    assert trained(recipe, tmp_path / "parts", resume=True)["steps"] == last
    settings = read_manifest(tmp_path / "whole", "run").settings
    assert (settings["run.epochs"], settings["run.steps"]) == (1.5, last)
    assert same(
        stored(tmp_path / "whole", last),
        (trained(make("exact", run={"steps": last}), tmp_path / "steps"), stored(tmp_path / "steps", last))[1],
    )
    with pytest.raises(OpenMofiError, match=r"run\.epochs: 1\.5 → 2\.0"):
        trained(make("exact", run={"steps": None, "epochs": 2.0}), tmp_path / "parts", resume=True)
    # Held-out rows are in no epoch.
    evaluate = EvaluateSettings(100, loss=True, held_out=0.5)
    held = trained(make("exact", run={"steps": None, "epochs": 1.5, "evaluate": evaluate}), tmp_path / "held")
    assert held["steps"] < last
    assert trained(make("exact", run={"steps": None, "epochs": 1e-6}), tmp_path / "little")["steps"] == 1


def test_a_run_without_a_length_is_refused(make, tmp_path):
    with pytest.raises(UsageError, match="how long"):
        run_module.train(make("exact", run={"steps": None}), tmp_path / "run", watcher=Unwatched())
    assert not (tmp_path / "run/manifest.json").exists()


@pytest.mark.parametrize("stop", [2, 3, 4])
def test_a_frozen_start_is_resumed_on_either_side_of_its_end(make, tmp_path, stop):
    image = {"freeze_steps": 3, "layer_decay": 0.5, "drop_path": 0.2}
    recipe = make("multi_task", image=image, run={"checkpoint_every": 1, "keep": 9})
    stopped_and_resumed(recipe, tmp_path, stop, 6)
    states = [stored(tmp_path / "whole", step) for step in (1, 3, 4)]
    trunk = {name for name in states[0] if name.startswith("model.image.trunk.")}
    head = "model.image.head.weight"
    assert trunk
    assert all(torch.equal(states[0][name], states[1][name]) for name in trunk)
    assert not torch.equal(states[0][head], states[1][head])
    assert not all(torch.equal(states[1][name], states[2][name]) for name in trunk)
    # Moments, and their count of steps, begin with the first step that counts.
    moments = [{name for name in state if name.startswith("optimizer.towers.image.trunk.")} for state in states]
    assert not moments[0] | moments[1]
    assert moments[2]
    assert {float(states[2][name]) for name in moments[2] if name.endswith(".step")} == {1.0}
    averages = {name.replace("model.", "ema.weights.") for name in trunk} & set(states[0])
    assert averages
    assert all(torch.equal(states[0][name], states[1][name]) for name in averages)


def test_a_best_checkpoint_of_the_frozen_start_becomes_the_encoder(make, tmp_path, monkeypatch):
    true = HeldOutEvaluator.evaluate
    falling = lambda self, step: {**true(self, step), "retrieval/map": 1 / step}  # noqa: E731
    monkeypatch.setattr(run_module.HeldOutEvaluator, "evaluate", falling)
    run = {
        "evaluate": EvaluateSettings(2, retrieval=True, held_out=0.3),
        "best": "retrieval/map",
        "checkpoint_every": 2,
        "keep": 9,
    }
    recipe = make("exact", image={"freeze_steps": 3}, optimizer={"ema": 0.0}, run=run)
    assert trained(recipe, tmp_path / "run")["best"]["step"] == 2
    state, late = stored(tmp_path / "run", 2), stored(tmp_path / "run", 6)
    weights = load_file(tmp_path / "run/encoder/model.safetensors")
    heads = [name for name in weights if name.endswith("head.weight")]
    assert heads
    for name in heads:
        kept = f"model.{name}"
        assert torch.equal(weights[name], state[kept])
        assert not torch.equal(weights[name], late[kept])
    assert trained(recipe, tmp_path / "run", resume=True)["best"]["step"] == 2


def test_statistics_of_a_frozen_start_stay(make, tmp_path):
    recipe = make(
        "exact",
        image={"spec": "timm:test_resnet", "freeze_steps": 3},
        run={"steps": 5, "checkpoint_every": 1, "keep": 9},
    )
    stopped_and_resumed(recipe, tmp_path, 2, 5)
    states = [stored(tmp_path / "whole", step) for step in (1, 3, 4)]
    means = {name for name in states[0] if name.startswith("model.") and name.endswith("running_mean")}
    assert means
    assert all(torch.equal(states[0][name], states[1][name]) for name in means)
    assert not any(torch.equal(states[1][name], states[2][name]) for name in means)


def test_adapters_are_all_that_a_checkpoint_holds_of_a_trunk(make, tmp_path):
    recipe = make("multi_task", image={"lora": Lora(2, dropout=0.2), "freeze_steps": 1}, run={"accumulate": 2})
    stopped_and_resumed(recipe, tmp_path, 4, 6)
    state = stored(tmp_path / "whole", 6)
    trunk = {name for name in state if name.startswith("model.image.trunk.")}
    assert trunk
    assert all(name.endswith((".0.a", ".0.b")) for name in trunk)
    assert any(state[name].any() for name in trunk if name.endswith(".b"))
    # The encoder has plain weights: those that were there, and the average of adapters.
    weights = load_file(tmp_path / "whole/encoder/model.safetensors")
    assert not any("parametrizations" in name for name in weights)
    plain = make("multi_task", run={"steps": 1})
    trained(plain, tmp_path / "plain")
    assert set(load_file(tmp_path / "plain/encoder/model.safetensors")) == set(weights)
    assert open_encoder(f"run:{tmp_path / 'whole/encoder'}").dim == recipe.model.dim


def test_adapters_are_not_resumed_on_other_weights(make, tmp_path, monkeypatch):
    recipe = make("exact", image={"lora": Lora(2)})
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, tmp_path / "run", watcher=InterruptAt(3))
    true = run_module.build_model

    def other(settings, inputs, *, seed):
        model = true(settings, inputs, seed=seed)
        with torch.no_grad():
            next(value for value in model.parameters() if not value.requires_grad).add_(1)
        return model

    monkeypatch.setattr(run_module, "build_model", other)
    with pytest.raises(OpenMofiError, match="frozen weights of the towers changed"):
        trained(recipe, tmp_path / "run", resume=True)
    monkeypatch.undo()
    assert trained(recipe, tmp_path / "run", resume=True)["steps"] == 6


def test_evaluators_measure_adapted_towers(make, tmp_path):
    evaluate = EvaluateSettings(2, retrieval=True, held_out=0.3)
    run = {"steps": 4, "evaluate": evaluate, "best": "retrieval/map"}
    found = trained(make("exact", image={"lora": Lora(2)}, run=run), tmp_path / "run")
    assert found["best"]["metric"] == "retrieval/map"
    assert open_encoder(f"run:{tmp_path / 'run/encoder'}").feature_dim == 8


PLACES = {"vision_model.": "image.trunk.tower.", "visual_projection.": "image.trunk.projection."}


@pytest.mark.parametrize("lora", [Lora(), Lora(2, 6.0)], ids=["whole", "adapters"])
def test_a_share_of_a_pretrained_tower_is_wise_fts(make, clip_folder, tmp_path, lora):
    """(1 − α) · fine-tuned + α · pretrained, weight by weight, as github.com/mlfoundations/wise-ft has it."""
    image = {"spec": f"hf:{clip_folder}", "size": 0, "head": "none", "lora": lora}
    recipe = make("exact", image=image, optimizer={"ema": 0.0, "lr": 0.02})
    stopped_and_resumed(replace(recipe, model=replace(recipe.model, dim=16, start_share=0.25)), tmp_path, 4, 6)
    pretrained = {
        ours + name.removeprefix(theirs): value
        for name, value in load_file(clip_folder / "model.safetensors").items()
        for theirs, ours in PLACES.items()
        if name.startswith(theirs)
    }
    state, found = stored(tmp_path / "whole", 6), load_file(tmp_path / "whole/encoder/model.safetensors")
    assert {name for name in found if name.startswith("image.")} == set(pretrained)
    changed = set()
    for name, first in pretrained.items():
        place, _, weight = name.rpartition(".")
        a, b = (state.get(f"model.{place}.parametrizations.{weight}.0.{part}") for part in "ab")
        adapted = first if a is None else first + 3 * (b @ a).view(first.shape)
        last = adapted if lora.rank else state[f"model.{name}"]
        torch.testing.assert_close(found[name], 0.75 * last + 0.25 * first, rtol=1e-5, atol=1e-6)
        changed |= {name} if not torch.allclose(found[name], first, atol=1e-4) else set()
    assert len(changed) > 4

"""Whole runs in one process: what is learned, logged, kept and exported, and how a run goes on."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import openmofi.training.loop as loop_module
import openmofi.training.run as run_module
from openmofi.encoders import open_encoder
from openmofi.errors import OpenMofiError, UsageError
from openmofi.storage import read_manifest
from openmofi.training.data import open_data
from openmofi.training.log import Unwatched, read_log
from openmofi.training.model import build_model, inputs_of

from .small_runs import InterruptAt, differences, losses, poisoned, same, stored, trained

pytestmark = pytest.mark.slow

STOCHASTIC = {"image": {"drop_path": 0.3, "feature_dropout": 0.3}}


def whole_and_resumed(recipe, folder, stop=2, **changed):
    """The final state and losses of an uninterrupted run and of one that was interrupted and resumed."""
    trained(recipe, folder / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, folder / "parts", watcher=InterruptAt(stop))
    assert max(losses(folder / "parts")) == stop
    trained(replace(recipe, data=replace(recipe.data, **changed)), folder / "parts", resume=True)
    return [(losses(folder / name), stored(folder / name, recipe.run.steps)) for name in ("whole", "parts")]


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("multi_sampled", STOCHASTIC | {"run": {"accumulate": 2, "steps": 4}}),
        ("sampled", {"locked": True, "image": {"feature_dropout": 0.3}, "optimizer": {"head": "row-adagrad"}}),
        ("exact", {"image": {"spec": "timm:test_resnet"}, "run": {"steps": 4}}),
    ],
)
def test_a_stopped_run_goes_on_to_the_bit(make, tmp_path, kind, more):
    whole, parts = whole_and_resumed(make(kind, **more), tmp_path)
    assert whole[0] == parts[0]
    assert same(whole[1], parts[1])
    whole_classes, classes = ((tmp_path / name / "classes.json") for name in ("whole", "parts"))
    assert whole_classes.read_bytes() == classes.read_bytes()
    assert len(set(whole[0].values())) == len(whole[0])
    assert {name.split(".")[0] for name in whole[1]} == {"model", "objective", "optimizer", "ema"}
    if "sampled" in kind:
        assert int(whole[1]["objective.margin_softmax.step"]) == max(whole[0])


@pytest.mark.parametrize("locked", [False, True])
def test_a_stopped_run_goes_on_to_the_bit_with_workers(make, tmp_path, locked):
    image = {"feature_dropout": 0.3} | ({} if locked else {"drop_path": 0.3})
    recipe = make("multi_sampled", locked=locked, image=image, data={"workers": 2}, run={"steps": 5})
    whole, parts = whole_and_resumed(recipe, tmp_path)
    assert whole[0] == parts[0]
    assert not differences(whole[1], parts[1])
    # The number of workers is free, and decides nothing.
    other = whole_and_resumed(replace(recipe, data=replace(recipe.data, workers=0)), tmp_path / "free", workers=2)
    assert other[0][0] == other[1][0] == whole[0]


def test_the_log_goes_on_where_it_stopped(make, tmp_path):
    recipe = make("multi_sampled", run={"steps": 8, "checkpoint_every": 3, "log_every": 2})
    trained(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        # Killed after the line of step 4, as it were: the checkpoint is of step 3.
        trained(recipe, tmp_path / "parts", watcher=InterruptAt(5))
    shutil.rmtree(tmp_path / "parts/checkpoints/step-00000005")
    trained(recipe, tmp_path / "parts", resume=True)
    lines = {name: read_log(tmp_path / name) for name in ("whole", "parts")}
    assert [line["step"] for line in lines["parts"]] == [line["step"] for line in lines["whole"]] == [2, 4, 6, 8]
    assert [line["loss"] for line in lines["parts"]][2:] == [line["loss"] for line in lines["whole"]][2:]
    for line in lines["whole"]:
        sampled = line["margin_softmax/sampled"]
        assert {
            "lr",
            "images_per_s",
            "data_wait",
            "memory_mib",
            "skipped",
            "grad_norm/towers",
            "grad_norm/head",
            "embedding_grad_norm/contrastive",
            "loss/margin_softmax",
        } <= line.keys()
        assert line["loss"] == pytest.approx(line["loss/margin_softmax"] + 0.5 * line["loss/contrastive"], rel=1e-5)
        assert (sampled, line["skipped"]) == (2, 0)
    thirds = {name for line in lines["whole"] for name in line if name.startswith("margin_softmax/accuracy")}
    assert {name.rpartition("/")[2] for name in thirds} >= {"head", "middle", "tail"}


@pytest.mark.parametrize("ema", [0.0, 0.5])
@pytest.mark.parametrize("locked", [False, True])
def test_the_exported_encoder_is_the_model(make, tmp_path, ema, locked):
    recipe = make("contrastive", locked=locked, optimizer={"ema": ema}, image={"standardise": True})
    trained(recipe, tmp_path / "run")
    state, inputs = stored(tmp_path / "run", 6), inputs_of(recipe.model)
    prefixes = ("ema.weights.", "ema.buffers.") if ema else ("model.",)
    weights = {
        name.removeprefix(prefix): value
        for prefix in prefixes
        for name, value in state.items()
        if name.startswith(prefix)
    }
    model = build_model(recipe.model, inputs, seed=99)
    model.load_state_dict(weights)
    batch = next(open_data(recipe.data, inputs, seed=5, cache=tmp_path, progress=run_module.Quiet()).batches(3, 4))
    with torch.no_grad():
        expected = model.eval()(batch)["image"].numpy()
    encoder = open_encoder(f"run:{tmp_path / 'run/encoder'}")
    features = batch["image_features"].numpy() if locked else encoder.image_features(batch["image"].numpy())
    np.testing.assert_allclose(encoder.project_images(features), expected, atol=1e-5)
    assert any(not torch.equal(weights[name], state[f"model.{name}"]) for name in weights) == bool(ema)
    scale = float(state["objective.contrastive.log_scale"].exp())
    assert encoder.logit_scale == pytest.approx(scale, rel=1e-6)


def test_a_finished_run_is_not_trained_again(make, tmp_path, monkeypatch):
    recipe = make("exact", run={"steps": 2})
    found = trained(recipe, tmp_path / "run")
    monkeypatch.setattr(run_module, "build_model", lambda *_, **__: pytest.fail("it was trained again"))
    assert found["steps"] == 2
    assert found["metrics"]["loss"] == losses(tmp_path / "run")[2]
    for resume in (False, True):
        assert trained(recipe, tmp_path / "run", resume=resume) == found
    assert read_manifest(tmp_path / "run", "run").finished


def test_a_run_that_only_lacks_its_encoder_goes_on(make, tmp_path, monkeypatch):
    recipe = make("exact", run={"steps": 2})
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "save_encoder", lambda *_, **__: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            trained(recipe, tmp_path / "run")
    assert trained(recipe, tmp_path / "run", resume=True)["steps"] == 2
    assert open_encoder(f"run:{tmp_path / 'run/encoder'}").feature_dim > 0


def test_what_is_refused(make, tmp_path, dataset_maker):
    recipe, out = make("exact", run={"steps": 3}), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, out, watcher=InterruptAt(2))
    with pytest.raises(OpenMofiError, match=r"stopped at step 2\. Add --resume"):
        trained(recipe, out)
    other = replace(recipe, optimizer=replace(recipe.optimizer, lr=1e-4))
    with pytest.raises(OpenMofiError, match=r"other settings \(optimizer.lr: 0.003 → 0.0001\)"):
        trained(other, out, resume=True)
    elsewhere = replace(recipe, data=replace(recipe.data, dataset=str(dataset_maker(tmp_path / "own", seed=1))))
    with pytest.raises(OpenMofiError, match="other settings"):
        trained(elsewhere, out, resume=True)
    free = replace(recipe, run=replace(recipe.run, log_every=3, checkpoint_every=1, keep=9, threads=0))
    assert trained(free, out, resume=True)["steps"] == 3


def test_a_folder_in_which_nothing_was_learned_is_not_locked(make, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_set_up", lambda *_, **__: pytest.fail("no such model"))
        with pytest.raises(pytest.fail.Exception):
            trained(make("exact", optimizer={"lr": 1.0}), out)
    assert trained(make("exact", run={"steps": 2}), out)["steps"] == 2
    with pytest.raises(OpenMofiError, match=r"other settings \(run.steps: 2 → 3\)"):
        trained(make("exact", run={"steps": 3}), out)


@pytest.mark.parametrize("steps", [2, 1])
def test_restart_removes_a_run_and_begins_anew(make, tmp_path, steps):
    out = tmp_path / "run"
    trained(make("exact", run={"steps": 2}), out)
    written = {path for path in out.rglob("*") if path.is_file() and ".cache" not in path.parts}
    assert written - set(run_module.OUTPUTS.files(out)) == {out / "manifest.json"}
    (out / "notes.txt").write_text("mine")
    assert trained(make("exact", run={"steps": steps}), out, restart=True)["steps"] == steps
    assert [path.name for path in (out / "checkpoints").glob("step-*")] == [f"step-{steps:08d}"]
    assert (out / "notes.txt").read_text() == "mine"


def test_a_dataset_that_was_moved_is_the_same_dataset(make, tmp_path):
    recipe, out = make("exact", run={"steps": 3}), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, out, watcher=InterruptAt(2))
    shutil.copytree(recipe.data.dataset, tmp_path / "moved")
    moved = replace(recipe, data=replace(recipe.data, dataset=str(tmp_path / "moved")))
    assert trained(moved, out, resume=True)["steps"] == 3


def test_a_folder_of_another_kind_is_left_as_it_is(make, tmp_path):
    recipe = make("exact")
    (tmp_path / "own").mkdir()
    (tmp_path / "own/notes.txt").write_text("mine")
    for out, message in ((Path(recipe.data.dataset), "'dataset', not 'run'"), (tmp_path / "own", "is not empty")):
        before = sorted(out.iterdir())
        with pytest.raises(OpenMofiError, match=message):
            trained(recipe, out)
        assert sorted(out.iterdir()) == before


def test_bf16_keeps_losses_and_weights_in_float32(make, tmp_path, monkeypatch):
    seen = set()
    true = loop_module.run_loop

    def watched(state, recipe, batches, forward, *rest):
        def spied(batch):
            found = forward(batch)
            seen.update((name, value.dtype) for name, value in found.items())
            return found

        state.model.image.head.register_forward_hook(lambda _, __, out: seen.add(("head", out.dtype)))
        return true(state, recipe, batches, spied, *rest)

    monkeypatch.setattr(loop_module, "run_loop", watched)
    for precision in ("fp32", "bf16"):
        trained(make("multi_task", run={"precision": precision}), tmp_path / precision)
    assert seen == {
        ("head", torch.float32),
        ("head", torch.bfloat16),
        ("image", torch.float32),
        ("text", torch.float32),
    }
    assert {value.dtype for value in stored(tmp_path / "bf16", 6).values()} == {torch.float32, torch.int64}
    half, full = losses(tmp_path / "bf16"), losses(tmp_path / "fp32")
    assert half != full
    assert [half[step] for step in full] == pytest.approx(list(full.values()), rel=0.05)


def test_gradient_checkpointing_changes_nothing_but_memory(make, tmp_path):
    for on in (False, True):
        image = {"drop_path": 0.3, "gradient_checkpointing": on}
        trained(make("contrastive", image=image, run={"steps": 3}), tmp_path / str(on))
    assert losses(tmp_path / "True") == pytest.approx(losses(tmp_path / "False"), rel=1e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_towers_learn_the_same(make, tmp_path):
    for compiled in (False, True):
        trained(
            make("exact", image={"spec": "timm:test_vit"}, run={"steps": 3, "compile": compiled}),
            tmp_path / str(compiled),
        )
    assert losses(tmp_path / "True") == pytest.approx(losses(tmp_path / "False"), rel=1e-4)


def test_the_best_checkpoint_is_named_and_kept(make, tmp_path):
    recipe = make(
        "exact", optimizer={"head_lr": 0.3}, run={"steps": 6, "checkpoint_every": 1, "keep": 1, "best": "-lr"}
    )
    said: list[str] = []
    watcher = Unwatched()
    watcher.say = said.append
    found = trained(recipe, tmp_path / "run", watcher=watcher)
    folders = sorted(path.name for path in (tmp_path / "run/checkpoints").glob("step-*"))
    assert len(said) == 1
    assert said[0].startswith("run.best is -lr: no best checkpoint was kept, for that is none of ")
    assert found["best"] is None  # the learning rate is no mean of the steps
    assert folders == ["step-00000006"]
    out = tmp_path / "loss"
    found = trained(replace(recipe, run=replace(recipe.run, best="-loss")), out)
    each = losses(out)
    best = min(each, key=each.__getitem__)
    assert found["best"] == {"metric": "loss", "value": each[best], "step": best}
    assert {int(path.name[5:]) for path in (out / "checkpoints").glob("step-*")} == {best, 6}
    assert json.loads((out / "checkpoints/best.json").read_text())["step"] == best


def test_three_losses_that_are_not_finite_stop_the_run(make, tmp_path):
    recipe, out = make("multi_task", run={"steps": 9, "checkpoint_every": 1, "keep": 9}), tmp_path / "run"
    with poisoned({3, 4, 5}), pytest.raises(OpenMofiError, match=r"at step 6, on the images 0") as caught:
        trained(recipe, out)
    data = open_data(recipe.data, inputs_of(recipe.model), seed=0, cache=out / ".cache", progress=run_module.Quiet())
    rows = next(data.batches(5, 6))["row"].tolist()
    assert f"{', '.join(data.sources.names(rows[:8]))}, …" in str(caught.value)
    assert sorted(int(path.name[5:]) for path in (out / "checkpoints").glob("step-*")) == [1, 2, 3]
    # With the cause gone, the run goes on from the last good checkpoint as if nothing had happened.
    trained(recipe, out, resume=True)
    trained(recipe, tmp_path / "clean")
    assert losses(out) == losses(tmp_path / "clean")


def test_a_batch_is_not_cut_on_cpus_where_the_run_chooses(make, tmp_path):
    trained(make(run={"accumulate": 0}), tmp_path / "chosen")
    trained(make(), tmp_path / "one")
    assert losses(tmp_path / "chosen") == losses(tmp_path / "one")
    assert read_manifest(tmp_path / "chosen").settings == read_manifest(tmp_path / "one").settings


def test_a_resumed_run_keeps_its_number_of_micro_batches_or_takes_more(make, tmp_path, monkeypatch):
    """Where it starts, two fit; then it is resumed where the whole batch fits, and where four parts do."""
    counts, part, out, used = iter((2, 1, 4, 4)), run_module.own_part, tmp_path / "run", []
    monkeypatch.setattr(run_module, "own_part", lambda *of: (lambda *_: next(counts)) if of[1] == "cut" else part(*of))
    true, watcher = loop_module.forward_backward, Told()
    monkeypatch.setattr(
        loop_module, "forward_backward", lambda *a, count, **more: used.append(count) or true(*a, count=count, **more)
    )
    recipe = make(run={"accumulate": 0})
    for stop in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            trained(recipe, out, resume=stop == 4, watcher=InterruptAt(stop))
    trained(recipe, out, resume=True, watcher=watcher)
    assert used == [2, 2, 2, 2, 4, 4]
    assert [line for line in watcher.lines if "accumulate" in line] == ["run.accumulate = 4, by the memory of cpu"]
    # The folder stays that of the run as it began, which the whole batch ends as, too.
    assert read_manifest(out).settings["run.accumulate"] == 2
    trained(make(), tmp_path / "whole")
    assert losses(out) == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)
    trained(recipe, out, restart=True)
    assert read_manifest(out).settings["run.accumulate"] == 4


def test_a_finished_run_that_chose_is_finished_where_it_would_not_fit(make, tmp_path, monkeypatch):
    recipe, part = make(run={"accumulate": 0}), run_module.own_part
    counts = trained(recipe, tmp_path / "run")

    def too_small(*_):
        raise UsageError("It does not fit.", "")

    monkeypatch.setattr(run_module, "own_part", lambda *of: too_small if of[1] in ("cut", "fit") else part(*of))
    assert trained(recipe, tmp_path / "run") == counts
    with pytest.raises(UsageError, match="does not fit"):
        trained(recipe, tmp_path / "run", restart=True)


def test_micro_batches_that_are_chosen_are_equal(make, tmp_path, monkeypatch):
    recipe, part = make(run={"accumulate": 0}), run_module.own_part
    size = recipe.data.batch_size
    monkeypatch.setattr(run_module, "own_part", lambda *of: (lambda *_: 3) if of[1] == "cut" else part(*of))
    trained(recipe, tmp_path / "run")
    assert read_manifest(tmp_path / "run").settings["run.accumulate"] == next(n for n in range(3, 99) if size % n == 0)
    # More than there are rows, as where a run goes on with more ranks.
    monkeypatch.setattr(run_module, "own_part", lambda *of: (lambda *_: 99) if of[1] == "cut" else part(*of))
    trained(recipe, tmp_path / "other")
    assert read_manifest(tmp_path / "other").settings["run.accumulate"] == size


class Told(Unwatched):
    """Keeps what a run says."""

    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


def test_recorded_steps_change_nothing_and_name_operations(make, tmp_path):
    trained(make(), tmp_path / "plain")
    trained(make(run={"profile": 1}), tmp_path / "run")
    assert losses(tmp_path / "run") == losses(tmp_path / "plain")
    events = json.loads((tmp_path / "run/trace.json").read_text("utf-8"))["traceEvents"]
    steps = [event["name"] for event in events if event["name"].startswith("ProfilerStep#")]
    assert steps == ["ProfilerStep#2"]
    assert any(event["name"].startswith("autograd::engine::evaluate_function") for event in events)
    assert "aten::" in (tmp_path / "run/profile.txt").read_text("utf-8")


@pytest.mark.parametrize("names", [("missing/trace.json", "profile.txt"), ("trace.json", "missing/profile.txt")])
def test_a_record_that_cannot_be_written_does_not_stop_the_run(make, tmp_path, caplog, monkeypatch, names):
    monkeypatch.setattr(run_module, "PROFILES", names)
    trained(make(run={"profile": 1}), tmp_path / "run")
    assert ["cannot be written" in each.message for each in caplog.records if "profile" in each.message] == [True]


@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_too_short_to_record_says_so(make, tmp_path, caplog, steps):
    trained(make(run={"profile": 5, "steps": steps}), tmp_path / "run")
    told = [each.message for each in caplog.records if "run.profile" in each.message]
    assert told == ["run.profile recorded nothing: the run ended before its third step."]
    assert not any((tmp_path / "run" / name).exists() for name in run_module.PROFILES)


def test_a_step_that_does_not_fit_says_what_to_set(make, tmp_path, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    with monkeypatch.context() as patched:
        patched.setattr("openmofi.training.loop.forward_backward", full)
        with pytest.raises(OpenMofiError, match=r"^6 rows at a time do not fit into the memory of cpu") as raised:
            trained(make(run={"accumulate": 2}), tmp_path / "run")
        assert "--restart --set run.accumulate=4" in raised.value.hint
        with pytest.raises(OpenMofiError, match=r"^1 rows at a time") as raised:
            trained(make(run={"accumulate": 12}), tmp_path / "one")
        assert raised.value.hint == "See what fits: openmofi train small --plan."


def test_memory_that_is_full_after_checkpoints_costs_none_of_them(make, tmp_path, monkeypatch):
    recipe = make(run={"steps": 4, "checkpoint_every": 1, "keep": 9})
    true = loop_module.forward_backward
    steps = iter(range(9))

    def full(*given, **options):
        if next(steps) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return true(*given, **options)

    with monkeypatch.context() as patched:
        patched.setattr("openmofi.training.loop.forward_backward", full)
        with pytest.raises(OpenMofiError, match="had fitted before") as raised:
            trained(recipe, tmp_path / "run")
    assert "--resume" in raised.value.hint
    assert "--restart" not in raised.value.hint
    assert trained(recipe, tmp_path / "run", resume=True)["steps"] == 4


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_or_two_are_skipped_and_touch_nothing(make, tmp_path, accumulate):
    recipe, out = (
        make(
            "multi_sampled",
            run={"steps": 6, "checkpoint_every": 1, "keep": 9, "accumulate": accumulate, "best": "-loss"},
        ),
        tmp_path / "run",
    )
    seen = []
    true = loop_module.run_loop

    def watched(state, recipe, batches, forward, checkpoints, report, start, evaluation):
        def note(step, scalars):
            seen.append((step, scalars["skipped"], {name: value.clone() for name, value in state.tensors().items()}))
            report(step, scalars)

        return true(state, recipe, batches, forward, checkpoints, note, start, evaluation)

    loop_module.run_loop = watched
    try:
        with poisoned({2, 3}):
            found = trained(recipe, out)
    finally:
        loop_module.run_loop = true
    assert [(step, skipped) for step, skipped, _ in seen] == [(1, 0), (2, 0), (3, 1), (4, 1), (5, 0), (6, 0)]
    # What a forward pass counts: how many there were, and which classes were right.
    counted, recent = "objective.margin_softmax.step", "objective.margin_softmax.recent"
    for before, after in pairwise(seen[1:4]):
        assert same(
            *(
                {name: value for name, value in each[2].items() if name not in (counted, recent)}
                for each in (before, after)
            )
        )
    assert int(seen[-1][2][counted]) == 6
    assert not same(seen[3][2], seen[4][2])
    assert "loss" not in read_log(out)[2]
    assert sorted(int(path.name[5:]) for path in (out / "checkpoints").glob("step-*")) == [1, 2, 5, 6]
    assert found["steps"] == 6
    assert np.isfinite(found["metrics"]["loss"])


def test_a_last_step_that_is_skipped_still_ends_the_run(make, tmp_path):
    with poisoned({2}):
        assert trained(make("exact", run={"steps": 3}), tmp_path / "run")["steps"] == 3
    assert open_encoder(f"run:{tmp_path / 'run/encoder'}").feature_dim > 0


def test_a_gradient_that_is_not_finite_is_skipped_too(make, tmp_path, monkeypatch):
    true = loop_module.run_loop

    def watched(state, *rest):
        calls = []

        def spoil(gradient):
            calls.append(len(calls))
            return gradient * torch.nan if calls[-1] == 1 else gradient

        state.model.image.head.weight.register_hook(spoil)
        return true(state, *rest)

    monkeypatch.setattr(loop_module, "run_loop", watched)
    trained(make("exact", run={"steps": 4, "checkpoint_every": 1}), tmp_path / "run")
    assert [line["skipped"] for line in read_log(tmp_path / "run")] == [0, 1, 0, 0]
    # Classes without an image so far have no accuracy.
    assert all(
        torch.isfinite(value).all()
        for name, value in stored(tmp_path / "run", 4).items()
        if not name.endswith(".recent")
    )


def test_a_run_that_was_killed_right_after_its_last_checkpoint_ends_alike(make, tmp_path, monkeypatch):
    recipe = make("exact", run={"keep": 1})
    whole = trained(recipe, tmp_path / "whole")

    class Killed(BaseException):
        pass

    tidy = loop_module.Checkpoints.tidy

    def killed(self, progressed):
        if progressed.step == recipe.run.steps:
            raise Killed
        tidy(self, progressed)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module.Checkpoints, "tidy", killed)
        with pytest.raises(Killed):
            trained(recipe, tmp_path / "killed")
    ended = trained(recipe, tmp_path / "killed", resume=True)
    measured = {"data_wait", "images_per_s", "memory_mib"}
    assert ended["best"] == whole["best"]
    assert {name: value for name, value in ended["metrics"].items() if name not in measured} == {
        name: value for name, value in whole["metrics"].items() if name not in measured
    }
    whole_left, left = (
        [
            sorted(path.name for path in (tmp_path / name / "checkpoints").glob("step-*")),
            (tmp_path / name / "checkpoints" / "best.json").read_bytes(),
        ]
        for name in ("whole", "killed")
    )
    assert left == whole_left

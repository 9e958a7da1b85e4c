"""`openmofi train` around the run itself: recipes, settings, what is missing, and how a run is shown and ended."""

import json
import re

import pytest
import yaml

from openmofi.config.recipes import recipe_dict, recipe_names
from openmofi.errors import OpenMofiError
from openmofi.progress import ConsoleWatcher, shown_training, training_line
from openmofi.training.recipe.rules import RECIPES, load_recipe
from studies import recipe_path
from terminal import in_process, sentence

SCALARS = {"loss": 2.34567, "images_per_s": 1234.5, "data_wait": 0.034, "memory_mib": 2048.4, "lr": 1e-3}

SUPERVISED, MULTI_TASK = (str(recipe_path(name)) for name in ("sample_supervised", "sample_multi_task"))


@pytest.fixture
def trained(monkeypatch):
    """The run replaced by one that only tells what it was asked; `openmofi` in this process."""
    from typer.testing import CliRunner

    from openmofi.cli.main import app

    calls: list[dict] = []
    found = {"steps": 400, "metrics": SCALARS, "best": {"metric": "loss", "value": 2.25, "step": 200}}

    def train(recipe, out, *, resume, restart, watcher, progress, labels):
        assert not restart
        calls.append({"recipe": recipe, "out": out, "resume": resume})
        progress.say("getting ready")
        watcher.begin(400, 200 if resume else 0)
        watcher.log(400, SCALARS)
        if recipe.name == "interrupted":
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr("openmofi.training.run.train", train)

    def run(*arguments):
        return CliRunner().invoke(app, ["train", *map(str, arguments)])

    return run, calls


def test_the_list_names_every_recipe():
    done = in_process("train", "--list")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(recipe_names(RECIPES))
    assert json.loads(in_process("train", "--list", "--json").stdout) == recipe_names(RECIPES)


def test_show_prints_every_setting(trained):
    run, calls = trained
    arguments = (SUPERVISED, "--show", "--set", "optimizer.lr=3e-4", "--dataset", "odd: #path")
    overrides = ["optimizer.lr=3e-4", "data.dataset='odd: #path'"]
    expected = recipe_dict(load_recipe(recipe_path("sample_supervised"), overrides))
    assert yaml.safe_load(run(*arguments).stdout) == expected
    assert json.loads(run(*arguments, "--json").stdout) == expected
    assert calls == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "No recipe is given"),
        (("mofi_vit_b17", "-o", "run"), "Did you mean 'mofi_vit_b16'?"),
        (("nowhere.yaml", "-o", "run"), "The recipe 'nowhere.yaml' does not exist"),
        ((SUPERVISED,), "No folder for the run"),
        ((SUPERVISED, "-o", "run"), "data.dataset is empty"),
        ((MULTI_TASK, "-o", "run", "--dataset", "somewhere"), "data.kb is empty"),
        ((SUPERVISED, "-o", "run", "--set", "optimizer.lrr=1"), "did you mean optimizer.lr?"),
        ((SUPERVISED, "-o", "run", "--set", "optimizer.lr=fast"), "optimizer.lr is 'fast'; it must be a number"),
    ],
)
def test_wrong_use_is_one_sentence_and_exits_with_2(trained, arguments, told):
    run, calls = trained
    done = run(*arguments)
    assert isinstance(done.exception, OpenMofiError)
    assert done.exception.exit_code == 2
    assert told in done.exception.message
    assert calls == []


def test_a_wrong_setting_as_a_person_meets_it(tmp_path):
    (tmp_path / "mine.yaml").write_text("optimizer:\n  lr: 1\n  lr: 2\n")
    done = in_process("train", tmp_path / "mine.yaml", "-o", tmp_path / "run")
    assert f"{tmp_path}/mine.yaml, line 3: the key 'lr' stands twice" in sentence(done, 2)
    assert not (tmp_path / "run").exists()


def test_the_run_gets_recipe_folder_and_settings(trained, tmp_path):
    run, calls = trained
    done = run(
        MULTI_TASK,
        "-o",
        tmp_path,
        "--dataset",
        "data",
        "--kb",
        "kb",
        "--set",
        "run.steps=500",
        "--set",
        "optimizer.warmup=5",
        "--resume",
    )
    assert done.exit_code == 0, done.output
    recipe = load_recipe(MULTI_TASK, ["data.dataset=data", "data.kb=kb", "run.steps=500", "optimizer.warmup=5"])
    assert calls == [{"recipe": recipe, "out": tmp_path, "resume": True}]
    assert f"encoder: run:{tmp_path}/encoder" in done.stdout
    assert "best loss: 2.2500 at step 200" in done.stdout
    assert "going on after step 200 of 400" in done.stderr
    assert "step 400/400: loss 2.3457, 1,234 images/s, data wait 3%, 2,048 MiB" in done.stderr


def test_json_is_all_that_json_prints(trained, tmp_path):
    run, _ = trained
    done = run(SUPERVISED, "-o", tmp_path, "--dataset", "data", "--json")
    assert json.loads(done.stdout) == {
        "run": str(tmp_path),
        "steps": 400,
        "metrics": SCALARS,
        "best": {"metric": "loss", "value": 2.25, "step": 200},
    }
    assert done.stderr == ""


def test_only_the_first_rank_speaks(trained, tmp_path, monkeypatch):
    run, calls = trained
    monkeypatch.setenv("RANK", "1")
    done = run(SUPERVISED, "-o", tmp_path, "--dataset", "data")
    assert (done.exit_code, done.output, len(calls)) == (0, "", 1)


def test_an_interrupted_run_says_how_to_go_on(trained, tmp_path):
    run, _ = trained
    done = run(SUPERVISED, "-o", tmp_path, "--dataset", "data", "--set", "name=interrupted")
    assert type(done.exception).__name__ == "_Interrupted"
    assert str(done.exception) == "add --resume to the same command to go on from the last checkpoint"


def test_a_line_shows_what_is_known():
    assert training_line(SCALARS) == "loss 2.3457, 1,234 images/s, data wait 3%, 2,048 MiB"
    assert training_line({"images_per_s": 10.0}) == "loss not finite, 10 images/s"
    assert training_line({"loss": float("nan"), "images_per_s": 10.0}) == "loss not finite, 10 images/s"


def test_without_a_terminal_each_interval_is_a_line(capsys):
    with shown_training(True) as (watcher, _):
        watcher.begin(100, 0)
        watcher.log(50, SCALARS)
        watcher.log(100, SCALARS)
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"step 50/100: loss 2.3457, .*, \d+ s left", lines[0])
    assert lines[1].startswith("step 100/100: ")
    assert "left" not in lines[1]


def test_on_a_terminal_there_is_a_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "140")
    with shown_training(True) as (watcher, progress):
        assert isinstance(watcher, ConsoleWatcher)
        progress.begin("features", 3)
        watcher.begin(100, 0)
        watcher.log(100, SCALARS)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "100/100" in shown
    assert "loss 2.3457, 1,234 images/s" in shown


def test_quiet_shows_nothing(capsys):
    with shown_training(False) as (watcher, progress):
        progress.begin("features", 3)
        watcher.begin(100, 0)
        watcher.log(50, SCALARS)
        watcher.say("hello")
    assert capsys.readouterr() == ("", "")

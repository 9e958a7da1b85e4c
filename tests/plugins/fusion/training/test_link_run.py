from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fusion_world import make_examples, tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.config.recipes import recipe_yaml
from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.fusion.examples import NIL, read_examples, write_examples
from openmofi.plugins.fusion.fusion_settings import LinkData, LinkRecipe, LinkStopping, load_link_recipe
from openmofi.plugins.fusion.linker import answers_of
from openmofi.plugins.fusion.questions import fitted_calibration
from openmofi.plugins.fusion.store import build_fusion, open_fusion
from openmofi.plugins.fusion.training import train_linker
from openmofi.plugins.fusion.training_data import LinkExamples
from openmofi.training.log import Unwatched, read_log
from openmofi.training.recipe import OptimizerSettings, RunSettings
from openmofi.training.run import OUTPUTS

# One training is enough for all that look at it.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("link_run")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("linking")
    rows = make_examples(600, nil=0.1) + make_examples(60, 1, nil=0.1, split="validation")
    write_examples(place / "examples.parquet", rows + make_examples(60, 2, nil=0.1, split="test"))
    return place


def recipe_of(folder, *, steps=60, every=20, **changes):
    return replace(
        LinkRecipe(
            "tiny",
            LinkData(str(folder / "examples.parquet"), batch_size=16, max_candidates=4, nil=0.1),
            tiny(folder / "tokenizer", dropout=0.1),
            (),
            OptimizerSettings(lr=5e-3, warmup=5, weight_decay=0.01),
            LinkStopping(limit=30),
            RunSettings(
                steps=steps,
                log_every=10,
                curves=False,
                checkpoint_every=every,
                best="validation_accuracy",
                channels_last=False,
            ),
        ),
        **changes,
    )


def learning_recipe(folder):
    recipe = recipe_of(folder, steps=200, every=50)
    return replace(recipe, model=replace(recipe.model, dropout=0.0), data=replace(recipe.data, batch_size=32))


def losses(out):
    return {line["step"]: line["loss"] for line in read_log(out) if "loss" in line}


class StopAt:
    """A watcher that interrupts."""

    def __init__(self, step):
        self.step = step

    def begin(self, total, done):
        pass

    def log(self, step, scalars):
        if step == self.step:
            import signal

            signal.raise_signal(signal.SIGINT)

    def say(self, message):
        pass


@pytest.fixture(scope="module")
def trained(folder):
    found = train_linker(learning_recipe(folder), folder / "run", watcher=Unwatched())
    return folder / "run", found


def test_restart_removes_what_a_run_writes(trained):
    out, _ = trained
    assert {path for path in out.rglob("*") if path.is_file()} - set(OUTPUTS.files(out)) == {out / "manifest.json"}


def test_it_learns_what_contexts_mean(folder, trained):
    out, found = trained
    assert found["accuracy"] > 0.8
    test = read_examples(folder / "examples.parquet", ["test"])
    fusion = open_fusion(out / "linker")
    right = [answer == one.gold for answer, one in zip(answers_of(fusion, test), test, strict=True)]
    assert np.mean(right) > 0.8
    assert fusion.nil
    assert fusion.temperature == found["temperature"]
    turned = [replace(one, candidates=one.candidates[::-1]) for one in test]
    assert answers_of(fusion, turned) == answers_of(fusion, test)


def test_a_finished_run_is_told_again(folder, trained):
    out, found = trained
    recipe = learning_recipe(folder)
    assert train_linker(recipe, out, watcher=Unwatched()) == found
    with pytest.raises(OpenMofiError, match=r"data\.nil"):
        train_linker(replace(recipe, data=replace(recipe.data, nil=0.2)), out, watcher=Unwatched())


@pytest.mark.parametrize("head", ["select", "generate"])
def test_resumed_it_is_the_same_to_the_bit(folder, tmp_path, head):
    recipe = recipe_of(folder, steps=24, every=8)
    recipe = replace(recipe, model=replace(recipe.model, head=head), run=replace(recipe.run, log_every=1))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train_linker(recipe, whole, watcher=Unwatched())
    with pytest.raises(KeyboardInterrupt):
        train_linker(recipe, cut, watcher=StopAt(11))
    with pytest.raises(OpenMofiError, match="--resume"):
        train_linker(recipe, cut, watcher=Unwatched())
    train_linker(recipe, cut, resume=True, watcher=Unwatched())
    assert losses(cut) == losses(whole)
    assert (cut / "linker/model.safetensors").read_bytes() == (whole / "linker/model.safetensors").read_bytes()


def test_accumulated_it_learns_the_same_but_for_rounding(folder, tmp_path):
    recipe = recipe_of(folder, steps=6)
    recipe = replace(recipe, model=replace(recipe.model, dropout=0.0), run=replace(recipe.run, log_every=1))
    train_linker(recipe, tmp_path / "one", watcher=Unwatched())
    train_linker(replace(recipe, run=replace(recipe.run, accumulate=4)), tmp_path / "four", watcher=Unwatched())
    one, four = losses(tmp_path / "one"), losses(tmp_path / "four")
    assert list(four.values()) == pytest.approx(list(one.values()), rel=1e-3)


def test_it_ends_early_and_keeps_the_best(folder, tmp_path):
    recipe = recipe_of(folder, steps=400, every=5, stopping=LinkStopping(limit=30, patience=2))
    recipe = replace(recipe, optimizer=replace(recipe.optimizer, lr=1e-9))
    found = train_linker(recipe, tmp_path / "run", watcher=Unwatched())
    assert found["steps"] == found["best"]["step"] + 10
    assert found["steps"] < 400


def test_bf16_trains(folder, tmp_path):
    recipe = recipe_of(folder, steps=4, every=4)
    found = train_linker(
        replace(recipe, run=replace(recipe.run, precision="bf16")), tmp_path / "r", watcher=Unwatched()
    )
    assert found["steps"] == 4


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 9),
    dropout=st.sampled_from([0.0, 0.5, 0.95]),
    most=st.integers(2, 6),
    hard=st.integers(0, 3),
    nil=st.sampled_from([0.0, 0.5]),
)
def test_what_is_asked_holds_the_right_answer_once(tokens, seed, dropout, most, hard, nil):
    data = LinkExamples(
        make_examples(40, nil=0.2),
        LinkData(batch_size=8, max_candidates=most, hard_negatives=hard, candidate_dropout=dropout, nil=nil),
        tokens,
        seed,
    )
    for row, example in enumerate(data.examples):
        asked = data.mention(row, 3)
        ids = [one.id for one in asked.candidates]
        assert 1 <= len(ids) == len(set(ids)) <= most
        assert any(one != example.gold for one in ids)
        if asked.target < len(ids):
            assert ids[asked.target] == example.gold
        else:
            assert example.gold not in ids
            assert nil or example.gold == NIL
        assert data.mention(row, 3) == asked


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return build_fusion(tiny(tmp_path_factory.mktemp("tokens"))).tokens


def test_an_epoch_asks_each_example_once_and_in_another_order(tokens):
    data = LinkExamples(make_examples(40), LinkData(batch_size=8), tokens, 0)
    rows = torch.cat([batch["row"] for batch in data.batches(0, 10)]).tolist()
    assert sorted(rows[:40]) == sorted(rows[40:]) == list(range(40))
    assert rows[:40] != rows[40:]
    later = next(data.batches(7, 8))
    assert later["row"].tolist() == rows[56:64]
    assert later["epoch"].tolist() == [1] * 8
    drawn = [[[one.id for one in data.mention(row, epoch).candidates] for row in range(40)] for epoch in (0, 1)]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("weight", [0.0, 0.6])
def test_temperature_and_weight_of_the_prior_are_those_that_answers_were_drawn_with(weight):
    draw = np.random.default_rng(0)
    logits, priors = draw.normal(size=(4000, 4)) * 2, np.log(draw.dirichlet([1, 1, 1, 1], 4000))
    chances = np.exp(logits + weight * priors)
    targets = [int(draw.choice(4, p=row / row.sum())) for row in chances]
    temperature, found = fitted_calibration(list(logits * 3), list(priors), targets, nil=True)
    assert temperature == pytest.approx(3, rel=0.1)
    assert found == pytest.approx(weight, abs=0.1)
    assert fitted_calibration([], [], [], nil=True) == (1.0, 0.0)


def test_packaged_recipes_load(tmp_path):
    recipe = load_link_recipe("fusion_wordnet", ["run.steps=7", "data.examples=x.parquet"])
    assert (recipe.name, recipe.run.steps, recipe.optimizer.warmup, recipe.data.examples) == (
        "fusion_wordnet",
        7,
        6,
        "x.parquet",
    )
    for wrong in (["run.epochs=2"], ["run.steps=null"], ["run.steps=null", "run.epochs=2"]):
        with pytest.raises(UsageError, match="by steps, not epochs"):
            load_link_recipe("fusion_wordnet", wrong)
    with pytest.raises(UsageError, match="fusion_wordnet"):
        load_link_recipe("fusion_wordne")
    with pytest.raises(UsageError, match=r"model\.heed"):
        load_link_recipe("fusion_wordnet", ["model.heed=select"])
    with pytest.raises(UsageError, match=r"unknown value 'both' for model\.head"):
        load_link_recipe("fusion_wordnet", ["model.head=both"])
    with pytest.raises(UsageError, match="max_candidates"):
        load_link_recipe("fusion_wordnet", ["data.max_candidates=1"])


@pytest.mark.parametrize("name", ["fusion_labels", "fusion_wordnet"])
def test_the_packaged_recipe_is_as_it_was(name):
    golden = Path(__file__).parent / f"golden/{name}.yaml"
    assert recipe_yaml(load_link_recipe(name)) == golden.read_text("utf-8")


def test_a_recipe_without_examples_or_with_other_splits_is_told(folder, tmp_path):
    recipe = recipe_of(folder)
    with pytest.raises(UsageError, match=r"data\.examples is empty"):
        train_linker(replace(recipe, data=replace(recipe.data, examples="")), tmp_path / "a", watcher=Unwatched())
    with pytest.raises(UsageError, match="split 'dev'"):
        train_linker(replace(recipe, stopping=LinkStopping("dev")), tmp_path / "b", watcher=Unwatched())
    with pytest.raises(OpenMofiError, match="fewer than a batch"):
        train_linker(replace(recipe, data=replace(recipe.data, batch_size=1024)), tmp_path / "c", watcher=Unwatched())
    assert not (tmp_path / "c").exists()

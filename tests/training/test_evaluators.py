"""What the loop evaluates on held-out rows, and what follows from it: the best checkpoint, an early end."""

import io
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import openmofi.training.run as run_module
from openmofi.config.recipes import recipe_dict
from openmofi.dataset.tables import Folder
from openmofi.encoders import open_encoder
from openmofi.engine.protocol import Quiet
from openmofi.errors import UsageError
from openmofi.evaluation.metrics.ranking import nearest_neighbours
from openmofi.evaluation.metrics.retrieval import evaluate_retrieval
from openmofi.evaluation.metrics.zero_shot import class_embeddings, evaluate_zero_shot
from openmofi.pairs import read_pairs
from openmofi.plugins.fusion.fusion_settings import load_link_recipe
from openmofi.storage import Shard, read_manifest
from openmofi.training.data import open_data
from openmofi.training.data.subset import Subsets, hold_out
from openmofi.training.log import Unwatched, read_log
from openmofi.training.model import inputs_of
from openmofi.training.recipe import EVALUATION_METRICS, EvaluateSettings
from openmofi.training.recipe.rules import load_recipe, validate
from openmofi.training.state import build_terms

from .small_runs import InterruptAt, same, stored, trained

ALL = EvaluateSettings(2, retrieval=True, knn=True, zero_shot=True, loss=True, held_out=0.5, neighbours=3)
STOCHASTIC = {"feature_dropout": 0.3, "drop_path": 0.3}


@pytest.fixture
def make(make):
    return replace(make, image="timm:test_vit")


def recipe_of(make, kind="multi_task", *, evaluate=ALL, run=(), **changes):
    return make(kind, run={"evaluate": evaluate} | dict(run), **changes)


def opened(recipe, cache):
    return open_data(
        recipe.data,
        inputs_of(recipe.model),
        seed=recipe.run.seed,
        cache=cache,
        progress=Quiet(),
        evaluate=recipe.run.evaluate,
    )


def evaluations(out):
    """Step → what was evaluated, every digit of it."""
    return {line["step"]: line for line in read_log(out) if "lr" not in line}


def held_out_pairs(dataset, rows):
    """Key, image and best class of rows of the dataset, read by hand."""
    shards = [Shard(**shard) for shard in read_manifest(dataset, "dataset").settings["shards"]]
    table = [
        (shard, row) for shard in shards for row in pq.read_table(f"{dataset}/images/{shard.name}.parquet").to_pylist()
    ]
    images = {(shard.name, pair.key): pair.image for shard in shards for pair in read_pairs(shard)}
    return [
        (row["key"], Image.open(io.BytesIO(images[shard.name, row["key"]])).convert("RGB"), row["classes"][0])
        for shard, row in (table[number] for number in rows)
    ]


@pytest.mark.parametrize(("locked", "ema", "accumulate"), [(False, 0.9, 2), (True, 0.0, 1)])
def test_each_evaluator_is_its_metric_on_embeddings_computed_outside(make, tmp_path, locked, ema, accumulate):
    recipe = recipe_of(make, locked=locked, optimizer={"ema": ema}, run={"steps": 4, "accumulate": accumulate})
    trained(recipe, tmp_path / "run")
    logged = evaluations(tmp_path / "run")
    assert list(logged) == [2, 4]
    data, encoder = opened(recipe, tmp_path / "cache"), open_encoder(f"run:{tmp_path / 'run/encoder'}")
    pairs = held_out_pairs(recipe.data.dataset, data.held_out.rows)
    assert 12 < len(pairs) < 30
    labels = np.array([label for _, _, label in pairs])
    pixels = np.stack([encoder.preprocess(image) for _, image, _ in pairs])
    images = encoder.project_images(encoder.image_features(pixels))
    expected = evaluate_retrieval(images, labels)
    gallery = data.held_out.gallery
    answers = nearest_neighbours(images[gallery], labels[gallery], images[~gallery], k=[3]).answers[3]
    classes = sorted(set(labels.tolist()))
    texts = class_embeddings([f"thing {label}" for label in classes], ["{name}"], encoder.embed_texts)
    named = evaluate_zero_shot(images, np.searchsorted(classes, labels), texts)
    outside = loss_outside(recipe, data, encoder, tmp_path)
    counts = Folder.open(recipe.data.dataset).vocabulary["images"].to_pylist()
    order = sorted(classes, key=lambda label: (-counts[label], label))
    third = np.array([order.index(label) * 3 // len(order) for label in labels])
    right = answers == labels[~gallery]
    of_bands = {}
    for number, band in enumerate(("head", "middle", "tail")):
        for name, values, thirds in (
            ("retrieval/map", expected.ap_excl_query, third),
            ("knn/accuracy", right, third[~gallery]),
            ("zero_shot/accuracy", named.correct, third),
        ):
            chosen = values[thirds == number].astype(float)
            if np.isfinite(chosen).any():
                of_bands[f"{name}/{band}"] = pytest.approx(np.nanmean(chosen), abs=2e-3)
    assert any(name.endswith("/tail") for name in of_bands)
    assert logged[4] == {
        "step": 4,
        **of_bands,
        "retrieval/map": pytest.approx(expected.map_excl_query, abs=2e-3),
        "retrieval/recall_at_1": pytest.approx(expected.recall_at_excl_query[1]),
        "knn/accuracy": pytest.approx((answers == labels[~gallery]).mean()),
        "zero_shot/accuracy": pytest.approx(named.accuracy),
        "zero_shot/accuracy_top5": pytest.approx(1.0),
        **{name: pytest.approx(value, rel=1e-3) for name, value in outside.items()},
    }


def loss_outside(recipe, data, encoder, tmp_path):
    """The held-out loss by the opened encoder and the checkpoint's objectives."""
    state = stored(tmp_path / "run", 4)
    terms = build_terms(recipe, data.class_counts, torch.device("cpu"))
    means = {name: [] for name in terms}
    for name, term in terms.items():
        prefix = f"objective.{name}."
        term.objective.load_state_dict(
            {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        )
    held_out = data.held_out.rows.tolist()
    batches = list(data.held_out_batches(images_only=False, rank=0, world=1, workers=0))
    assert len(batches) == -(-len(held_out) // 12)
    for step, batch in enumerate(batches):
        rows = [held_out[position % len(held_out)] for position in range(12 * step, 12 * step + 12)]
        assert batch["row"].tolist() == rows
        pairs = held_out_pairs(recipe.data.dataset, rows)
        pixels = np.stack([encoder.preprocess(image) for _, image, _ in pairs])
        embeddings = {
            "image": torch.from_numpy(encoder.project_images(encoder.image_features(pixels))),
            "text": torch.from_numpy(encoder.embed_texts([f"text of {key}" for key, _, _ in pairs])),
        }
        for name, term in terms.items():
            means[name].append(float(term.objective(embeddings, batch).loss.detach()))
    means = {name: np.mean(values) for name, values in means.items()}
    return {
        "held_out/loss": means["margin_softmax"] + 0.5 * means["contrastive"],
        **{f"held_out/loss/{name}": value for name, value in means.items()},
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multi_sampled", "exact"])
def test_evaluating_changes_nothing_of_the_training(make, tmp_path, kind):
    changes = {"image": STOCHASTIC | ({"spec": "timm:test_resnet", "drop_path": 0.0} if kind == "exact" else {})}
    for every in (1, 100):
        evaluate = replace(ALL, every=every, zero_shot=kind != "exact")
        trained(
            recipe_of(make, kind, evaluate=evaluate, run={"steps": 5, "checkpoint_every": 5}, **changes),
            tmp_path / str(every),
        )
    assert len(evaluations(tmp_path / "1")) == 5
    assert len(evaluations(tmp_path / "100")) == 1
    assert logged_losses(tmp_path / "1") == logged_losses(tmp_path / "100")
    assert same(stored(tmp_path / "1", 5), stored(tmp_path / "100", 5))
    encoders = [(tmp_path / every / "encoder/model.safetensors").read_bytes() for every in ("1", "100")]
    assert encoders[0] == encoders[1]


def logged_losses(out):
    return {line["step"]: line["loss"] for line in read_log(out) if "lr" in line}


def test_stopped_and_resumed_it_evaluates_the_same(make, tmp_path):
    recipe = recipe_of(make, image=STOCHASTIC, run={"steps": 6, "best": "retrieval/map"})
    trained(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, tmp_path / "parts", watcher=InterruptAt(3))
    found = trained(recipe, tmp_path / "parts", resume=True)
    assert list(evaluations(tmp_path / "whole")) == [2, 4, 6]
    assert evaluations(tmp_path / "whole") == evaluations(tmp_path / "parts")
    assert same(stored(tmp_path / "whole", 6), stored(tmp_path / "parts", 6))
    counts = read_manifest(tmp_path / "whole", "run").counts
    assert found["best"] == counts["best"]
    with pytest.raises(Exception, match=r"other settings \(run.evaluate.held_out"):
        trained(replace(recipe, run=replace(recipe.run, evaluate=replace(ALL, held_out=0.4))), tmp_path / "whole")


@pytest.mark.parametrize(
    ("metric", "values"), [("retrieval/map", (0.1, 0.5, 0.3, 0.5, 0.9)), ("held_out/loss", (0.9, 0.2, 0.3, 0.2, 0.1))]
)
def test_the_best_is_kept_and_exported_and_the_run_ends_early(make, tmp_path, monkeypatch, metric, values):
    monkeypatch.setattr(
        run_module.HeldOutEvaluator, "evaluate", lambda self, step: {metric: values[step // 2 - 1], "other": 1.0}
    )
    watcher, said = Unwatched(), []
    watcher.say = said.append
    recipe = recipe_of(
        make,
        optimizer={"ema": 0.0, "head_lr": 0.1},
        run={"steps": 20, "keep": 1, "checkpoint_every": 50, "best": metric, "patience": 2},
    )
    found = trained(recipe, tmp_path, watcher=watcher)
    assert found["steps"] == 8
    assert found["best"] == {"metric": metric, "value": values[1], "step": 4}
    assert json.loads((tmp_path / "checkpoints/best.json").read_text()) == found["best"]
    assert {path.name for path in (tmp_path / "checkpoints").glob("step-*")} == {"step-00000004", "step-00000008"}
    assert said[0] == f"step 2: {metric} {values[0]}, other 1"
    assert said[-1] == f"{metric} is not better for 2 evaluations: stopped after step 8"
    encoder = load_file(tmp_path / "encoder/model.safetensors")
    best, last = stored(tmp_path, 4), stored(tmp_path, 8)
    assert all(torch.equal(value, best[f"model.{name}"]) for name, value in encoder.items())
    assert any(not torch.equal(value, last[f"model.{name}"]) for name, value in encoder.items())
    # A finished run stays as it is.
    assert trained(recipe, tmp_path, resume=True) == found


def test_a_run_that_ended_early_and_lacks_its_encoder_is_not_trained_on(make, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module.HeldOutEvaluator, "evaluate", lambda self, step: {"knn/accuracy": 1 / step})
    recipe = recipe_of(make, run={"steps": 20, "best": "knn/accuracy", "patience": 1})
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "save_encoder", lambda *_, **__: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            trained(recipe, tmp_path)
    before = logged_losses(tmp_path)
    assert trained(recipe, tmp_path, resume=True)["best"] == {"metric": "knn/accuracy", "value": 0.5, "step": 2}
    assert logged_losses(tmp_path) == before
    assert max(before) == 4


@pytest.mark.slow
def test_workers_change_no_evaluation(make, tmp_path):
    for workers in (0, 2):
        trained(recipe_of(make, data={"workers": workers}, run={"steps": 4}), tmp_path / str(workers))
    assert evaluations(tmp_path / "2") == evaluations(tmp_path / "0")


@pytest.mark.parametrize("by", ["row", "class"])
@pytest.mark.parametrize("sampler", ["instance", "class-balanced", "sqrt"])
def test_held_out_rows_never_train(make, tmp_path, sampler, by):
    evaluate = replace(ALL, held_out_by=by, neighbours=1, knn=False)
    recipe = recipe_of(make, locked=True, evaluate=evaluate, data={"sampler": sampler})
    data, rows = opened(recipe, tmp_path), []
    held_out = set(data.held_out.rows.tolist())
    rows = np.concatenate([batch["row"].numpy() for batch in data.batches(0, 60)])
    assert held_out
    assert held_out.isdisjoint(rows.tolist())
    trained_rows = sorted(set(range(data.rows)) - held_out)
    assert set(rows.tolist()) == set(trained_rows)
    if sampler == "instance":
        count = len(trained_rows)
        assert all(sorted(rows[epoch * count : (epoch + 1) * count].tolist()) == trained_rows for epoch in range(3))
    labels = [batch["labels"] for batch in opened(recipe, tmp_path).batches(0, 60)]
    seen = set(torch.cat(labels).flatten().tolist()) - {-1}
    if by == "class":
        assert not seen & {label for label in range(6) if not data.class_counts[label]}
        assert len(seen) < 5
        assert seen.isdisjoint(data.held_out.labels.tolist())
    everything = open_data(recipe.data, inputs_of(recipe.model), seed=0, cache=tmp_path, progress=Quiet())
    assert everything.held_out is None
    table = everything.sources.rows.take(np.array(trained_rows), ["classes"])["classes"].to_pylist()
    assert data.class_counts.tolist() == np.bincount([label for row in table for label in row], minlength=6).tolist()


def test_which_rows_are_held_out_is_a_matter_of_seed_and_key(make, tmp_path):
    recipe = recipe_of(make, locked=True)
    sources = opened(recipe, tmp_path).sources
    keys = sources.rows.take(np.arange(43), ["key"])["key"].to_pylist()

    def keys_of(seed, counts=(9,) * 6, **changes):
        settings = replace(ALL, retrieval=False, knn=False, **changes)
        names = [f"e{number}" for number in range(6)]
        templates = ["{name}", "{name}: {description}", "a {name}."]
        held_out = hold_out(
            Subsets(sources.rows, seed, tmp_path, Quiet()), settings, names, np.array(counts), names, templates
        )
        shown = sorted({f"e{label}" for label in held_out.labels})
        assert held_out.texts == [shown, [f"a {name}" for name in shown]]
        return [keys[row] for row in held_out.rows]

    assert keys_of(1) == keys_of(1) != keys_of(2)
    for few, many in pairwise((0.1, 0.3, 0.5, 0.9)):
        assert set(keys_of(1, held_out=few)) < set(keys_of(1, held_out=many))
    assert len(keys_of(1, held_out=0.9, limit=5)) == 5
    assert set(keys_of(1, held_out=0.9, limit=5)) < set(keys_of(1, held_out=0.9, limit=9))
    assert keys_of(1, held_out_by="class") == keys_of(1, held_out_by="class", limit=54)
    assert len(keys_of(1, held_out_by="class", held_out=0.99, limit=20)) < 30
    # A class that is too large by itself is passed over, whether it is drawn first or last.
    for large in range(6):
        counts = [999 if number == large else 9 for number in range(6)]
        assert len(keys_of(1, counts, held_out_by="class", held_out=0.9999, limit=20)) > 5


def test_too_few_held_out_rows_are_refused(make, tmp_path):
    for changes, message in (
        ({"held_out": 1e-9}, "holds out 0 of 43 rows"),
        ({"held_out": 0.99999}, "holds out 43 of 43 rows"),
        ({"limit": 1}, "retrieval has no positives"),
        ({"neighbours": 40}, "fewer than run.evaluate.neighbours = 40"),
    ):
        with pytest.raises(UsageError, match=message):
            opened(recipe_of(make, locked=True, evaluate=replace(ALL, **changes)), tmp_path)


NOTHING_EVALUATED = [
    "run.evaluate.every=0",
    "run.evaluate.retrieval=false",
    "run.evaluate.zero_shot=false",
    "run.evaluate.loss=false",
    "run.best=-loss",
]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["run.evaluate.every=5"], "every evaluator is off"),
        (["run.evaluate.every=5", "run.evaluate.zero_shot=true"], "zero_shot needs texts"),
        (["run.best=retrieval/map"], "run.best is retrieval/map, which nothing measures. Set run.evaluate.every"),
        (["run.best=retrieval/mapp"], "unknown value 'retrieval/mapp' for run.best. Did you mean 'retrieval/map'?"),
        (["run.best=retreival/map"], "Did you mean 'retrieval/map'?"),
        (["run.best=-retrieval/map", "run.evaluate.every=5", "run.evaluate.retrieval=true"], "more is better"),
        (["run.patience=2"], "run.patience counts evaluations, and run.best is -loss"),
        (["run.evaluate.held_out=1.0"], "must be above 0 and below 1"),
        (["run.evaluate.held_out_by=entity"], "unknown value 'entity' for run.evaluate.held_out_by; use class or row"),
        (["run.evaluate.neighbours=0"], "run.evaluate.neighbours is 0"),
        (["run.evaluate.retrievel=true"], "run.evaluate.retrieval"),
    ],
)
def test_settings_that_do_not_work(settings, message):
    with pytest.raises(UsageError) as caught:
        load_recipe(
            "mofi_vit_b16", [*NOTHING_EVALUATED, "objectives.contrastive.weight=0", "model.text.spec=none", *settings]
        )
    assert message in str(caught.value)


def test_settings_that_do(make):
    for metric in EVALUATION_METRICS:
        validate(recipe_of(make, run={"best": metric, "patience": 3}))
    validate(recipe_of(make, run={"best": "-held_out/loss"}))
    with pytest.raises(UsageError, match=r"Linkers take no .*run\.patience"):
        load_link_recipe("fusion_wordnet", ["run.patience=2"])


def test_where_nothing_is_evaluated_a_manifest_is_as_it_was(make):
    off = make("exact")
    assert not [key for key in run_module.deciding_settings(off) if key.startswith(("run.evaluate", "run.patience"))]
    on = run_module.deciding_settings(recipe_of(make))
    assert on["run.evaluate.held_out"] == 0.5
    assert recipe_dict(off)["run"]["evaluate"]["every"] == 0

"""The size study on the small world: what is trained, what is measured, and that nothing is done twice."""

import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner

import openmofi
from openmofi.cli.command import CHECK_VARIABLE
from openmofi.cli.main import app
from openmofi.engine import LocalEngine, Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.training.data import open_data
from openmofi.training.model import inputs_of
from openmofi.training.recipe.rules import load_recipe
from small_world import drawn_image
from studies.size.report import matching_pairs, size_page
from studies.size.runs import Benchmark, StudyRun, do_runs, on_benchmark, on_held_out
from studies.size.size import Cell, SizeSettings, _cells, run_size_study
from studies.size.values import Values

pytestmark = pytest.mark.slow

SMALL = ["run.steps=4", "optimizer.warmup=2", "data.batch_size=16", "run.threads=1"]


@pytest.fixture(scope="module")
def dataset(labelled, small_world, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "dataset"
    return openmofi.build_dataset(labelled, out=out, kb=small_world.kb).path


@pytest.fixture(scope="module")
def options(small_encoder, small_world, dataset):
    return [
        str(dataset),
        "--kb",
        str(small_world.kb),
        "--encoder",
        small_encoder,
        "--held-out",
        "0.4",
        "--engine",
        "local",
        *(part for change in SMALL for part in ("--set", change)),
    ]


@pytest.fixture(scope="module")
def study(options, tmp_path_factory):
    """Two sizes of two seeds, by the command."""
    out = tmp_path_factory.mktemp("study") / "out"
    done = CliRunner().invoke(
        app, ["study", "size", *options, "-o", str(out), "--sizes", "1/4,1", "--seeds", "2", "--thresholds", "none"]
    )
    assert done.exit_code == 0, done.output
    return out, done.output


def test_the_command_measures_both_methods_at_each_size(study):
    out, output = study
    metrics = json.loads((out / "metrics.json").read_text())
    (found,) = metrics["datasets"].values()
    # All pairs with equal steps and with equal epochs are the same run.
    assert metrics["runs"] == len(list(out.glob("runs/*.parquet"))) == 2 * 2 * 3
    assert [point["pairs"] for point in found["steps"]] == [round(found["pairs"] / 4), found["pairs"]]
    assert [point["steps"] for point in found["epochs"]] == [1, 4]
    assert found["steps"][1] == found["epochs"][1]
    for point in (*found["steps"], *found["epochs"]):
        for metric in ("map", "zero_shot"):
            both = [point[method][metric] for method in ("entities", "alt_text")]
            for figures in both:
                assert figures["mean"] == pytest.approx(np.mean(figures["seeds"]))
                assert figures["interval"][0] <= figures["mean"] <= figures["interval"][1]
            assert point["difference"][metric]["difference"] == pytest.approx(both[0]["mean"] - both[1]["mean"])
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "<script" not in page
    assert f"{found['steps'][0]['entities']['map']['mean']:.3f}" in page
    assert f"{found['steps'][0]['entities']['map']['mean']:.3f}" in output
    assert not [path for path in out.glob("runs/*") if path.is_dir() and not path.name.startswith(".")]


def test_a_study_goes_on_and_trains_nothing_twice(study, options, monkeypatch):
    out, _ = study
    monkeypatch.setenv(CHECK_VARIABLE, os.environ.get(CHECK_VARIABLE, "1"))
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("runs/*.parquet")}
    metrics = json.loads((out / "metrics.json").read_text())
    lost = sorted(before)[0]
    (out / "runs" / lost).unlink()
    again = CliRunner().invoke(
        app,
        [
            "study",
            "size",
            *options,
            "-o",
            str(out),
            "--sizes",
            "1/4,1",
            "--seeds",
            "2",
            "--thresholds",
            "none",
            "--json",
        ],
    )
    assert again.exit_code == 0, again.output
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("runs/*.parquet")}
    assert {name for name in before if after[name] != before[name]} == {lost}
    datasets = json.loads((out / "metrics.json").read_text())["datasets"]
    assert datasets == metrics["datasets"]


def test_held_out_images_are_measured_as_scikit_learn_does(small_encoder, small_world, dataset, tmp_path):
    from openmofi.encoders import open_encoder
    from openmofi.training.recipe import EvaluateSettings
    from openmofi.training.recipe.rules import over_encoder

    recipe = load_recipe("entity_head", over_encoder(load_recipe("entity_head"), small_encoder))
    evaluate = EvaluateSettings(every=1, loss=True, held_out=0.4, held_out_by="class")
    settings = replace(recipe.data, dataset=str(dataset), kb=str(small_world.kb))
    data = open_data(settings, inputs_of(recipe.model), seed=0, cache=tmp_path, progress=Quiet(), evaluate=evaluate)
    encoder, sure = open_encoder(small_encoder), 0.9
    values = on_held_out(data, encoder, str(small_world.kb), sure)
    table = data.sources.rows.take(data.held_out.rows, ["classes", "scores"]).to_pylist()
    kept = np.array(
        [
            dict(zip(row["classes"], row["scores"], strict=True))[label] >= sure
            for row, label in zip(table, data.held_out.labels.tolist(), strict=True)
        ]
    )
    assert 0 < kept.sum() < len(kept)
    labels = data.held_out.labels[kept]
    assert values.entity.tolist() == [data.class_ids[label] for label in labels]
    images = encoder.project_images(data.sources.image_features.take(data.held_out.rows).numpy()[kept])
    scores = images @ images.T
    expected = [
        average_precision_score(np.delete(labels == labels[i], i), np.delete(scores[i], i)) for i in range(len(labels))
    ]
    np.testing.assert_allclose(values.of["map"][0], expected, atol=1e-6)
    values.write(tmp_path / "values.parquet")
    read = Values.read(tmp_path / "values.parquet")
    assert np.array_equal(read.of["map"], values.of["map"])
    with pytest.raises(OpenMofiError, match="measured on different images"):
        Values.joined([read, replace(read, entity=read.entity[::-1])])


def test_a_benchmark_is_measured_as_eval_does(small_encoder, tmp_path):
    draw = np.random.default_rng(0)
    for entity in ("e:sun", "e:brick", "e:tent"):
        folder = tmp_path / "images" / entity.removeprefix("e:")
        folder.mkdir(parents=True)
        for number in range(3):
            (folder / f"{number}.jpg").write_bytes(drawn_image(entity, draw))
    encoder = openmofi.load_encoder(small_encoder)
    values = on_benchmark(Benchmark.parse(f"retrieval={tmp_path / 'images'}"), encoder, str(tmp_path / "cache"))
    result = openmofi.evaluate(
        "retrieval", encoder=encoder, data=tmp_path / "images", cache=tmp_path / "cache", progress=False
    )
    assert values.mean("map") == pytest.approx(result.metrics["retrieval/map_excl_query"])
    assert sorted(set(values.entity)) == ["brick", "sun", "tent"]
    assert set(values.of) == {"map"}


def test_noise_is_compared_at_equal_numbers_of_pairs():
    recipe = load_recipe("entity_head", ["run.steps=40", "optimizer.warmup=8"])
    best = np.array([0.62, 0.7, 0.84, 0.9, 0.97, 0.99], np.float32)
    assert _cells(best, SizeSettings(sizes=(), thresholds=(0.5, 0.6, 0.8, 0.95)), recipe) == [
        Cell("noise", 2, threshold, 40, 8) for threshold in (0.6, 0.8, 0.95)
    ]
    assert _cells(best, SizeSettings(sizes=(0.5,), thresholds=(0.5, 0.6)), recipe) == [
        Cell("steps", 3, 0.0, 40, 8),
        Cell("epochs", 3, 0.0, 20, 4),
    ]
    with pytest.raises(UsageError, match=r"No pair has a label from 0\.995 on; the surest has 0\.990"):
        _cells(best, SizeSettings(thresholds=(0.5, 0.995)), recipe)


def test_where_entities_catch_up_is_said():
    def point(pairs, theirs, ours):
        return {"pairs": pairs, "alt_text": {"map": {"mean": theirs}}, "entities": {"map": {"mean": ours}}}

    curve = [point(10, 0.1, 0.2), point(20, 0.2, 0.3), point(40, 0.3, 0.4)]
    assert matching_pairs({"steps": curve, "epochs": curve[:1]}) == {"steps": 20, "epochs": 10}
    assert matching_pairs({"steps": [point(10, 0.1, 0.05)]}) == {"steps": None}


def test_names_of_data_are_text_on_the_page(study):
    metrics = json.loads((study[0] / "metrics.json").read_text())
    page = size_page(metrics | {"datasets": {"<b>": next(iter(metrics["datasets"].values()))}})
    assert re.search("<h2>&lt;b&gt;</h2>", page)


def test_what_does_not_fit_is_said_before_anything_is_trained(dataset, small_world, tmp_path):
    def study(datasets, settings=SizeSettings, **changes):
        run_size_study(datasets, tmp_path / "out", settings(), Quiet(), engine=LocalEngine(), **changes)

    with pytest.raises(UsageError, match="knowledge base"):
        study([dataset])
    with pytest.raises(UsageError, match=r"Two datasets are called"):
        study([dataset, dataset], overrides=[f"data.kb={small_world.kb}"])
    with pytest.raises(UsageError, match="neither sizes nor thresholds"):
        study([dataset], lambda: SizeSettings(sizes=(), thresholds=()))
    with pytest.raises(UsageError, match=r"sizes is \[1.0, 0.5\]"):
        study([dataset], lambda: SizeSettings(sizes=(1.0, 0.5)))
    for wrong in ("retrieval", f"knn={tmp_path}"):
        with pytest.raises(UsageError, match="PROTOCOL=DIR"):
            Benchmark.parse(wrong)
    with pytest.raises(OpenMofiError, match="nowhere does not exist"):
        Benchmark.parse("retrieval=nowhere")
    with pytest.raises(UsageError, match="--sizes is 'a half'"):
        CliRunner().invoke(
            app,
            ["study", "size", str(dataset), "-o", str(tmp_path / "out"), "--sizes", "a half"],
            catch_exceptions=False,
            standalone_mode=False,
        )
    assert not list(tmp_path.glob("out/runs/*.parquet"))


def test_what_decides_a_run_names_it(dataset, small_world, tmp_path):
    recipe = load_recipe("entity_head", [f"data.dataset={dataset}", f"data.kb={small_world.kb}"])
    run = StudyRun("a", recipe, tmp_path)
    other = replace(recipe, run=replace(recipe.run, threads=3, log_every=7))
    assert StudyRun("b", replace(other, name="other"), tmp_path / "elsewhere").key == run.key
    for changed in (
        replace(run, recipe=replace(recipe, run=replace(recipe.run, seed=1))),
        replace(run, sure=0.9),
        replace(run, benchmark=Benchmark("retrieval", "somewhere")),
    ):
        assert changed.key != run.key
    assert do_runs([], LocalEngine(), Quiet()) == []

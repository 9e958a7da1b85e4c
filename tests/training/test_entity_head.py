"""A head over a frozen encoder, from the labels of a job to the page of its results."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.nn.functional import normalize

import openmofi
from openmofi.encoders import BACKBONE, open_encoder
from openmofi.errors import UsageError
from openmofi.training.model import build_model, inputs_of
from openmofi.training.recipe import ModelSettings
from openmofi.training.recipe.rules import load_recipe, over_encoder
from openmofi.training.report import measure, thirds_of
from openmofi.training.run import dataset_of

SETTINGS = {
    "steps": 12,
    "run.evaluate.every": 6,
    "warmup": 2,
    "batch_size": 32,
    "run.threads": 1,
    "held_out": 0.4,
    "nested": (32, 8),
}


@pytest.fixture(scope="module")
def run(small_world, small_encoder, labelled, tmp_path_factory):
    """A few steps of the packaged recipe over the small world's encoder and label job."""
    out = tmp_path_factory.mktemp("head") / "run"
    return openmofi.train(
        "entity_head",
        out=out,
        labels=labelled,
        encoder=small_encoder,
        kb=small_world.kb,
        progress=False,
        **SETTINGS,
    )


@pytest.fixture(scope="module")
def base(small_encoder):
    return open_encoder(small_encoder)


def test_a_residual_head_changes_nothing_before_training_and_everything_is_trained(small_encoder, base):
    recipe = load_recipe("entity_head", over_encoder(load_recipe("entity_head"), small_encoder))
    inputs = inputs_of(recipe.model)
    draw = np.random.default_rng(0)
    images = draw.standard_normal((5, base.feature_dim)).astype(np.float32)
    texts = draw.standard_normal((5, base.text_feature_dim)).astype(np.float32)
    for kind in ("linear", "mlp"):
        settings = replace(recipe.model, image=replace(recipe.model.image, head=kind))
        model = build_model(settings, inputs, seed=1)
        found = model({"image_features": torch.from_numpy(images), "text_features": torch.from_numpy(texts)})
        np.testing.assert_allclose(found["image"].detach(), base.project_images(images), atol=1e-6)
        np.testing.assert_allclose(found["text"].detach(), base.project_texts(texts), atol=1e-6)
        found["image"][:, 0].sum().backward()
        assert model.image.head.weight.grad.any()


def test_the_trained_encoder_gives_what_was_trained_and_its_results_are_its_own(run, base):
    encoder = run.encoder
    assert encoder.heads.adapter
    assert encoder.dim == base.dim
    results = json.loads((run.path / "results.json").read_text())
    assert results == run.summary["results"]
    lengths = [str(length) for length in (base.dim, 32, 8) if length <= base.dim]
    assert set(results["before"]) == set(results["after"]) == set(lengths)
    for side in ("before", "after"):
        bands = results["bands"][side]
        assert set(bands) <= {"head", "middle", "tail"}
        images = {name: results["band_images"][name] for name in bands}
        mean = sum(bands[name]["zero_shot"] * images[name] for name in bands) / results["rows"]
        assert mean == pytest.approx(results[side][lengths[0]]["zero_shot"])
    page = (run.path / "report.html").read_text()
    assert "<script" not in page
    assert f"{results['after']['8']['map_excl_query']:.3f}" in page


def test_a_run_that_starts_from_the_labels_knows_its_classes_at_once(small_encoder, small_world, labelled, tmp_path):
    settings = {
        "run": {
            "steps": 1,
            "log_every": 1,
            "evaluate": {"every": 0},
            "report": False,
            "best": "-loss",
            "threads": 1,
        },
        "batch_size": 64,
        "nested": (),
        "feature_dropout": 0,
        "model.image.residual": False,
        "model.text.residual": False,
        "warmup": 1,
    }
    accuracy = {}
    for start in ("random", "labels"):
        run = openmofi.train(
            "entity_head",
            out=tmp_path / start,
            labels=labelled,
            encoder=small_encoder,
            kb=small_world.kb,
            progress=False,
            model={"start": start, "start_share": 0.75 * (start == "labels")},
            **settings,
        )
        accuracy[start] = json.loads((run.path / "log.jsonl").read_text().splitlines()[0])["margin_softmax/accuracy"]
    assert accuracy["random"] < 0.3
    assert accuracy["labels"] > 0.8
    # The encoder is where the recipe says, between the first weights and the last.
    dcp_to_torch_save(next((run.path / "checkpoints").glob("step-*")), tmp_path / "all.pt")
    kept = torch.load(tmp_path / "all.pt")
    first, last = (kept[f"{when}.image.head.weight"] for when in ("start", "model"))
    assert not torch.equal(first, last)
    found = next(value for name, value in run.encoder.heads.image.tensors().items() if name == "weight")
    torch.testing.assert_close(found, 0.75 * first + 0.25 * last)


def test_figures_are_those_of_scikit_learn(base, run):
    draw = np.random.default_rng(1)
    features = draw.standard_normal((14, base.feature_dim)).astype(np.float32)
    labels = np.sort(draw.permutation(np.r_[np.repeat([3, 5, 8], 4), 5, 8]))

    class Held:
        rows, texts = np.arange(14), [["a box", "a tent", "a ball"]]

    Held.labels = labels
    figures = measure(Held, np.bincount(labels), features, base, run.encoder, [base.dim, 8])
    embedded = normalize(torch.from_numpy(run.encoder.project_images(features)[:, :8]), dim=1).numpy()
    texts = normalize(torch.from_numpy(run.encoder.embed_texts(Held.texts[0])[:, :8]), dim=1).numpy()
    scores = embedded @ embedded.T
    others = ~np.eye(14, dtype=bool)
    expected = [average_precision_score((labels == labels[i])[others[i]], scores[i][others[i]]) for i in range(14)]
    assert figures["after"]["8"]["map_excl_query"] == pytest.approx(np.mean(expected))
    answers = np.unique(labels)[(embedded @ texts.T).argmax(1)]
    assert figures["after"]["8"]["zero_shot"] == pytest.approx((answers == labels).mean())


def test_thirds_are_of_the_held_out_entities():
    labels = np.array([7, 7, 1, 4])
    assert thirds_of(labels, np.array([0, 5, 0, 0, 2, 99, 0, 9])).tolist() == [0, 0, 1, 2]


def test_what_follows_of_an_encoder(small_encoder, base):
    recipe = load_recipe("entity_head")
    over = load_recipe("entity_head", over_encoder(recipe, small_encoder))
    assert over.model.dim == base.dim
    assert over.model.image.residual
    assert over.model.text.residual
    plain = load_recipe("entity_head", over_encoder(recipe, BACKBONE))
    assert plain.model == recipe.model


def test_what_does_not_fit_is_said(small_encoder, small_world, labelled, base, tmp_path):
    model = load_recipe("entity_head", over_encoder(load_recipe("entity_head"), small_encoder)).model
    inputs = inputs_of(model)
    with pytest.raises(UsageError, match=rf"model.dim = {base.dim}"):
        build_model(replace(model, dim=base.dim + 1, nested=()), inputs, seed=0)
    with pytest.raises(UsageError, match="differ"):
        build_model(replace(model, text=replace(model.text, residual=False)), inputs, seed=0)
    with pytest.raises(UsageError, match=r"model\.nested"):
        ModelSettings(dim=64, nested=(32, 64))
    with pytest.raises(UsageError, match="neither labels nor a dataset"):
        dataset_of(small_world.kb, None, tmp_path)
    with pytest.raises(UsageError, match="labels and a dataset"):
        openmofi.train("entity_head", out=tmp_path, labels=labelled, dataset=labelled)
    with pytest.raises(UsageError, match=r"run\.report"):
        load_recipe("entity_head", ["run.evaluate.every=0", "run.best=-loss"])

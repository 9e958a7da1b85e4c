"""Encoders of users' own in the label job: two functions or an object, with and without a logit scale."""

import json

import numpy as np
import pytest

import openmofi
from openmofi.encoders import as_encoder
from openmofi.encoders.probe import fit_scale
from openmofi.errors import OpenMofiError, UsageError
from small_world import OTHER_NAMES, SHAPES

pytestmark = pytest.mark.slow
COLOURS = np.stack([np.array(colour, np.float32) for _, colour, _ in SHAPES.values()])


def embed_images(images):
    """How near some pixel of the image is to each entity's colour."""
    rows = []
    for image in images:
        pixels = np.asarray(image.convert("RGB").resize((24, 20)), np.float32).reshape(-1, 1, 3)
        rows.append(np.exp(-((pixels - COLOURS) ** 2).sum(2) / 800).mean(0) + 1e-3)
    return np.stack(rows)


def embed_texts(texts):
    names = [{name, OTHER_NAMES.get(entity, name)} for entity, (name, _, _) in SHAPES.items()]
    return np.stack([[any(name in text for name in called) + 1e-2 for called in names] for text in texts])


class Own:
    """An encoder as a user would write one."""

    logit_scale, fingerprint = 10.0, "own-1"
    embed_images, embed_texts = staticmethod(embed_images), staticmethod(embed_texts)


def test_two_functions_label_as_the_object_does(small_world, tmp_path):
    both = [
        openmofi.label(small_world.shards, kb=small_world.kb, encoder=encoder, out=tmp_path / name)
        for name, encoder in (("functions", (embed_images, embed_texts)), ("object", Own()))
    ]
    for labels in both:
        assert labels.summary["rows_in"] == labels.summary["rows_out"] == len(small_world.truth)
        accepted = labels.accepted().to_pylist()
        right = [row["entity"] == small_world.truth[row["shard"], row["key"]] for row in accepted]
        assert len(right) > 50
        assert np.mean(right) > 0.6


def test_an_unknown_scale_is_fitted_to_the_jobs_pairs_and_kept(small_world, tmp_path):
    openmofi.label(small_world.shards, kb=small_world.kb, encoder=(embed_images, embed_texts), out=tmp_path / "labels")
    calibration = json.loads((tmp_path / "labels/calibration.json").read_text())
    assert calibration["logit_scale"] not in (0.0, 1.0)
    explained = openmofi.explain(
        _moon(tmp_path),
        "The moon",
        kb=small_world.kb,
        encoder=(embed_images, embed_texts),
        cache=tmp_path,
        calibration=tmp_path / "labels/calibration.json",
    )
    (candidate,) = explained.candidates
    assert candidate.image_score <= calibration["logit_scale"] + 1e-4


def test_a_pair_is_explained_by_what_the_encoder_labelled_with(small_world, tmp_path):
    encoder = as_encoder(Own())
    pair = {"kb": small_world.kb, "encoder": encoder, "cache": tmp_path}
    with pytest.raises(OpenMofiError, match="no calibration for this knowledge base") as raised:
        openmofi.explain(_moon(tmp_path), "The moon", **pair)
    assert "Label pairs with it first" in raised.value.hint
    openmofi.label(small_world.shards, kb=small_world.kb, encoder=encoder, out=tmp_path / "labels")
    explained, given = (
        openmofi.explain(_moon(tmp_path), "The moon", **pair, **calibration)
        for calibration in ({}, {"calibration": tmp_path / "labels/calibration.json"})
    )
    assert explained == given
    with pytest.raises(OpenMofiError, match="was fitted for another encoder"):
        openmofi.explain(
            _moon(tmp_path),
            "The moon",
            kb=small_world.kb,
            encoder=(embed_images, embed_texts),
            cache=tmp_path,
            calibration=tmp_path / "labels/calibration.json",
        )


def test_an_encoder_that_cannot_be_sent_is_one_sentence(small_world, tmp_path, monkeypatch):
    monkeypatch.setattr("openmofi.engine.engines.ProcessEngine.few", 0)
    with pytest.raises(OpenMofiError, match="cannot be sent to other processes"):
        openmofi.label(
            small_world.shards,
            kb=small_world.kb,
            out=tmp_path / "labels",
            engine="processes:1",
            encoder=(lambda images: embed_images(images), embed_texts),
        )


def _moon(folder):
    from small_world import drawn_image

    path = folder / "moon.jpg"
    path.write_bytes(drawn_image("e:moon", np.random.default_rng(0)))
    return path


def test_the_fitted_scale_is_the_one_of_least_cross_entropy():
    draw = np.random.default_rng(0)
    images = draw.standard_normal((64, 16))
    texts = images + 0.5 * draw.standard_normal((64, 16))
    images, texts = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (images, texts))
    fitted = fit_scale(images, texts, batch=64)

    def loss(scale):
        logits = scale * images @ texts.T
        return np.mean([np.log(np.exp(part).sum(1)) - np.diag(part) for part in (logits, logits.T)])

    assert all(loss(fitted.scale) <= loss(fitted.scale * factor) for factor in (0.8, 0.95, 1.05, 1.25))


def test_an_encoder_without_texts_is_refused_at_once(small_world, tmp_path):
    class Blind:
        embed_images = staticmethod(embed_images)

    with pytest.raises(UsageError):
        openmofi.label(small_world.shards, kb=small_world.kb, encoder=Blind(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()

"""Encoders that tell nothing apart, of every kind that opens; and those with random weights, which do."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from openmofi.encoders import Head, as_encoder, open_encoder, probe, save_heads
from openmofi.errors import OpenMofiError

from .conftest import drawn_image


def colours(images):
    return np.stack([np.asarray(image, np.float32).mean((0, 1)) for image in images])


def lengths(texts):
    return [[len(text), 1.0, 2.0] for text in texts]


def letters(texts):
    return [[len(text), sum(map(ord, text)), 1.0] for text in texts]


def constant(items):
    return np.ones((len(items), 3), np.float32)


def without_weights(folder, *parts):
    """The same checkpoint whose weights of `parts` are zeros: it opens, and gives the same for all."""
    weights = load_file(folder / "model.safetensors")
    for name in weights:
        if name.startswith(parts):
            weights[name] = torch.zeros_like(weights[name])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture
def copy(clip_folder, tmp_path):
    return shutil.copytree(clip_folder, tmp_path / "copy")


def test_random_weights_tell_texts_and_images_apart(clip_folder, siglip_folder, tiny_open_clip):
    for spec in (
        f"hf:{clip_folder}",
        f"hf:{siglip_folder}",
        "open_clip:" + "/".join(map(str, tiny_open_clip)),
        "timm:test_vit/none?size=32",
    ):
        encoder = open_encoder(spec)
        sides = {"images", "texts"} if encoder.has_texts else {"images"}
        for side in sides:
            encoder.require_distinct(side)
        assert {side for fingerprint, side in probe._passed if fingerprint == encoder.fingerprint} == sides


@pytest.mark.parametrize("file", ["vocab.txt", "vocab.json"])
def test_a_vocabulary_of_two_tokens_is_refused(copy, file):
    for path in copy.glob("tokenizer*"):
        path.unlink()
    (copy / file).write_text("aa\nbb\n" if file == "vocab.txt" else json.dumps({"aa": 0, "bb": 1}))
    (copy / "merges.txt").write_text("#version\n")
    (copy / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    with pytest.raises(OpenMofiError, match=r"embeds different texts alike|tokenizer in .* cannot be opened"):
        open_encoder(f"hf:{copy}").embed_texts(["the crane", "two apples"])


def test_tokenizer_files_that_are_missing_are_named(copy):
    for path in copy.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(OpenMofiError, match="has no tokenizer files") as raised:
        open_encoder(f"hf:{copy}")
    assert "tokenizer.json" in raised.value.hint


@pytest.mark.parametrize(
    ("side", "parts"), [("images", ("visual_projection", "vision_model")), ("texts", ("text_projection", "text_model"))]
)
def test_one_side_alone_is_refused_when_it_is_used(copy, side, parts):
    without_weights(copy, *parts)
    encoder = open_encoder(f"hf:{copy}")
    uses = {
        "images": lambda: encoder.embed_images(drawn_image(40, 40)),
        "texts": lambda: encoder.embed_texts("a crane"),
    }
    for _ in range(2):  # a refusal is not forgotten
        with pytest.raises(OpenMofiError, match=f"embeds different {side} alike"):
            uses[side]()
    assert np.isfinite(uses["texts" if side == "images" else "images"]()).all()


def test_weights_that_are_not_finite_are_refused(copy):
    weights = load_file(copy / "model.safetensors")
    weights["text_projection.weight"][:] = torch.nan
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(OpenMofiError, match="gives texts values that are not finite"):
        open_encoder(f"hf:{copy}").embed_texts("a crane")


def test_heads_that_collapsed_are_refused_though_their_base_is_not(clip_folder, tmp_path):
    base = open_encoder(f"hf:{clip_folder}")
    heads = [Head.initial(base.feature_dim, 8, seed=seed) for seed in (0, 1)]
    flat = Head({name: np.zeros_like(values) + (name == "bias") for name, values in heads[0].parameters.items()})
    save_heads(tmp_path / "flat", base=base, image_head=flat, text_head=heads[1], logit_scale=10.0, settings={})
    encoder = open_encoder(f"run:{tmp_path / 'flat'}")
    with pytest.raises(OpenMofiError, match="embeds different images alike"):
        encoder.project_images(np.ones((1, base.feature_dim), np.float32))
    with pytest.raises(OpenMofiError, match="embeds different images alike"):
        encoder.require_comparison()
    assert encoder.embed_texts(["a", "b"]).shape == (2, 8)


@pytest.mark.parametrize(
    ("images", "texts", "side"),
    [(colours, constant, "texts"), (constant, letters, "images"), (colours, lengths, "texts")],
)
def test_an_encoder_of_ones_own_is_asked_too(images, texts, side):
    # The last of them knows nothing of a text but its length.
    encoder = as_encoder((images, texts))
    with pytest.raises(OpenMofiError, match=f"embeds different {side} alike"):
        encoder.require_comparison()


def test_it_is_asked_once():
    asked = []

    def counted(images):
        asked.append(len(images))
        return colours(images)

    encoder = as_encoder((counted, letters))
    del asked[:]
    for _ in range(3):
        encoder.embed_images([drawn_image(30, 30), drawn_image(20, 20, 1)])
    assert asked == [2, 2, 2, 2]

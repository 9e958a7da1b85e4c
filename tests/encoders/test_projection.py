import json
import shutil

import numpy as np
import pytest
import torch

from openmofi.encoders import Head, apply_head, open_encoder, save_heads
from openmofi.encoders.registry import NAMES_VARIABLE
from openmofi.errors import OpenMofiError, UsageError

from .conftest import TEXTS, drawn_image


@pytest.fixture(scope="module")
def base(clip_folder):
    return open_encoder(f"hf:{clip_folder}")


@pytest.fixture(scope="module")
def features(base):
    return base.image_features(np.stack([base.preprocess(drawn_image(40, 40, seed)) for seed in range(5)]))


def heads(base, dim=8):
    mean, std = np.full(base.feature_dim, 0.1, np.float32), np.full(base.feature_dim, 2.0, np.float32)
    return (
        Head.initial(base.feature_dim, dim, seed=0, hidden=12, mean=mean, std=std),
        Head.initial(base.text_feature_dim, dim, seed=1),
    )


@pytest.fixture
def folder(base, tmp_path):
    image, text = heads(base)
    return save_heads(
        tmp_path / "mine", base=base, image_head=image, text_head=text, logit_scale=12.5, settings={"seed": 0}
    )


def test_written_and_opened_again(base, folder, features):
    encoder = open_encoder(f"run:{folder}")
    image, text = heads(base)
    expected = ((features - 0.1) / 2.0) @ image.parameters["weight"].T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(encoder.project_images(features) - expected).max() < 1e-5
    texts = base.text_features(TEXTS) @ text.parameters["weight"].T
    assert np.abs(encoder.embed_texts(TEXTS) - texts / np.linalg.norm(texts, axis=1, keepdims=True)).max() < 1e-5
    assert (encoder.dim, encoder.logit_scale, encoder.preprocessing) == (8, 12.5, base.preprocessing)
    assert encoder.feature_fingerprint == base.feature_fingerprint
    assert encoder.fingerprint != base.fingerprint


def test_equal_encoders_are_equal_bytes_and_fingerprints(base, folder, tmp_path):
    image, text = heads(base)
    again = save_heads(
        tmp_path / "again", base=base, image_head=image, text_head=text, logit_scale=12.5, settings={"seed": 0}
    )
    for name in ("encoder.json", "heads.safetensors"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    assert open_encoder(f"run:{again}").fingerprint == open_encoder(f"run:{folder}").fingerprint


def test_an_adapter_starts_as_its_base_and_moves_from_there(base, tmp_path, features):
    zero = Head.initial(base.dim, base.dim, seed=0, zero=True)
    moved = Head({"weight": np.zeros((base.dim, base.dim), np.float32), "bias": np.eye(base.dim, dtype=np.float32)[0]})
    where = save_heads(
        tmp_path / "adapter",
        base=base,
        image_head=moved,
        text_head=zero,
        logit_scale=base.logit_scale,
        settings={},
        adapter=True,
    )
    adapter, plain = open_encoder(f"run:{where}"), base.project_images(features)
    assert np.allclose(adapter.embed_texts(TEXTS), base.embed_texts(TEXTS), atol=1e-6)
    expected = plain + np.eye(base.dim)[0]
    assert np.allclose(
        adapter.project_images(features), expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6
    )
    assert adapter.feature_fingerprint == base.feature_fingerprint


def test_an_adapter_over_a_projection(base, folder, tmp_path):
    mine = open_encoder(f"run:{folder}")
    zero = Head.initial(mine.dim, mine.dim, seed=0, zero=True)
    where = save_heads(
        tmp_path / "adapter", base=mine, image_head=zero, text_head=zero, logit_scale=1.0, settings={}, adapter=True
    )
    assert np.allclose(open_encoder(f"run:{where}").embed_texts(TEXTS), mine.embed_texts(TEXTS), atol=1e-6)


def test_read_only_features_are_fine(folder, features):
    frozen = features.copy()
    frozen.flags.writeable = False
    assert np.isfinite(open_encoder(f"run:{folder}").project_images(frozen)).all()


def test_heads_that_do_not_fit_are_refused(base, tmp_path):
    wrong = Head.initial(base.feature_dim + 1, 8, seed=0)
    with pytest.raises(OpenMofiError, match="its base"):
        save_heads(tmp_path / "x", base=base, image_head=wrong, text_head=wrong, logit_scale=1.0, settings={})
    assert not (tmp_path / "x").exists()


def test_another_base_is_noticed(base, folder, clip_folder, tmp_path):
    copy = tmp_path / "base"
    shutil.copytree(clip_folder, copy)
    settings = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps({**settings, "image_std": [0.9] * 3}))
    raw = json.loads((folder / "encoder.json").read_text())
    (folder / "encoder.json").write_text(json.dumps(raw).replace(base.spec, f"hf:{copy}"))
    with pytest.raises(OpenMofiError, match="was trained on another"):
        open_encoder(f"run:{folder}")


def test_damage_is_one_sentence(folder, tmp_path):
    heads_file, spec_file = folder / "heads.safetensors", folder / "encoder.json"
    whole, spec = heads_file.read_bytes(), spec_file.read_text()
    heads_file.write_bytes(whole[:-8])
    with pytest.raises(OpenMofiError, match="cannot be read"):
        open_encoder(f"run:{folder}")
    heads_file.write_bytes(whole[:-4] + b"\x00\x00\x80\x3f")
    with pytest.raises(OpenMofiError, match=r"not what encoder\.json"):
        open_encoder(f"run:{folder}")
    heads_file.unlink()
    with pytest.raises(OpenMofiError, match="cannot be read"):
        open_encoder(f"run:{folder}")
    for text, message in (
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"format_version": 99}', "version 99"),
        ('{"format_version": 1}', "version 1"),
        ('{"format_version": 2}', "required field"),
        (spec.replace('"format": "run"', '"format": "magic"'), "unknown format"),
        (spec.replace('"encoder_fingerprint"', '"x"'), "missing required field `encoder_fingerprint`"),
    ):
        spec_file.write_text(text)
        with pytest.raises(OpenMofiError, match=message):
            open_encoder(f"run:{folder}")
    with pytest.raises(OpenMofiError, match="is not an encoder"):
        open_encoder(f"run:{tmp_path}/nowhere")


def test_an_encoder_that_stands_on_itself_is_refused(base, folder):
    raw = json.loads((folder / "encoder.json").read_text())
    (folder / "encoder.json").write_text(json.dumps(raw).replace(base.spec, f"run:{folder}"))
    with pytest.raises(OpenMofiError, match="is its own base"):
        open_encoder(f"run:{folder}")


def test_a_head_trains_and_comes_back():
    head = Head.initial(6, 3, seed=0, hidden=5, mean=np.zeros(6), std=np.ones(6))
    tensors = head.tensors()
    for name in head.trainable:
        tensors[name].requires_grad_()
    apply_head(tensors, torch.randn(4, 6)).square().sum().backward()
    assert set(head.trainable) == {"weight", "bias", "mlp_in", "mlp_in_bias", "mlp_out", "mlp_out_bias"}
    assert tensors["weight"].grad is not None
    back = Head.from_tensors(tensors)
    assert all(np.array_equal(back.parameters[name], values) for name, values in head.parameters.items())


TWO_PARTS = {
    "weight": np.zeros((2, 3)),
    "bias": np.zeros(2),
    "parts": np.ones(1),
    "gate": np.zeros(3),
    "gate_bias": np.zeros(1),
}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "weight"),
        ({"weight": np.zeros((2, 3)), "bias": np.zeros(2), "extra": np.zeros(1)}, "extra"),
        ({"weight": np.zeros((2, 3)), "bias": np.zeros(3)}, "shape"),
        ({"weight": np.full((2, 3), np.nan), "bias": np.zeros(2)}, "finite"),
        ({"weight": np.zeros((2, 3)), "bias": np.zeros(2), "mlp_in": np.zeros((4, 2))}, "together"),
        ({"weight": np.zeros((2, 3)), "bias": np.zeros(2), "mean": np.zeros(3)}, "together"),
        ({"weight": np.zeros((2, 3)), "bias": np.zeros(2), "parts": np.ones(1)}, "together"),
        ({**TWO_PARTS, "parts": np.array([2.0])}, "first part has 2 of 2"),
        ({**TWO_PARTS, "parts": np.array([0.5])}, "first part has 0.5 of 2"),
        ({**TWO_PARTS, "gate": np.zeros(2)}, "shape"),
    ],
)
def test_wrong_heads_are_refused(parameters, message):
    with pytest.raises(OpenMofiError, match=message):
        Head(parameters)


def test_sample_is_a_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv(NAMES_VARIABLE, str(tmp_path / "encoders"))
    for spec, name in (("sample", "partial-labels"), ("sample:alt-text", "alt-text")):
        with pytest.raises(OpenMofiError, match=f"not been trained here.*{name}") as raised:
            open_encoder(spec)
        assert all(word in raised.value.hint for word in ("make world", NAMES_VARIABLE))
        shutil.copytree(folder, tmp_path / "encoders" / name)
        assert open_encoder(spec).spec == spec


@pytest.mark.parametrize(
    ("spec", "near"),
    [
        ("open-clip:ViT-B-16/x", "open_clip"),
        ("samples", "sample"),
        ("hff:x", "mean 'hf'"),
        ("sample:alttext", "mean 'sample"),
        ("", "Encoders are"),
        ("run:", "Encoders are"),
        ("backbone:resnet", "efficientnet"),
    ],
)
def test_unknown_specs_name_the_nearest(spec, near):
    with pytest.raises(UsageError, match=near):
        open_encoder(spec)

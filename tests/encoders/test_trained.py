"""Encoders with trained towers on disk: damage is met with one sentence; folding never changes what is computed."""

import json
import shutil

import numpy as np
import pytest
import timm
import torch

from openmofi.encoders import open_encoder
from openmofi.encoders.folder import Side
from openmofi.encoders.networks import folded, image_probe
from openmofi.encoders.preprocess import Preprocessing
from openmofi.encoders.towers import image_trunk, text_tokens, text_trunk
from openmofi.encoders.trained import save_trained_encoder
from openmofi.errors import OpenMofiError

from .conftest import SIZE, TEXTS

PREPROCESSING = Preprocessing(SIZE, (0.5,) * 3, (0.5,) * 3)


def save(folder, tiny_open_clip, **changes):
    torch.manual_seed(0)
    image = image_trunk("timm:test_vit", size=SIZE)
    text = text_trunk(f"open_clip:{tiny_open_clip[0]}")
    tensors = {f"image.trunk.{name}": value for name, value in image.module.state_dict().items()}
    tensors |= {f"text.trunk.{name}": value for name, value in text.module.state_dict().items()}
    for side, trunk in (("image", image), ("text", text)):
        tensors |= {f"{side}.head.weight": torch.randn(4, trunk.dim), f"{side}.head.bias": torch.zeros(4)}
    options = {
        "image": Side("linear", image.architecture),
        "text": Side("linear", text.architecture),
        "tensors": tensors,
        "dim": 4,
        "logit_scale": 2.0,
        "preprocessing": PREPROCESSING,
        "tokens": text_tokens(f"open_clip:{tiny_open_clip[0]}"),
        "recipe": {},
    }
    return save_trained_encoder(folder, **(options | changes))


@pytest.fixture(scope="module")
def whole(tiny_open_clip, tmp_path_factory):
    return save(tmp_path_factory.mktemp("trained") / "whole", tiny_open_clip)


@pytest.fixture
def folder(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy"


def edit(folder, **changes):
    raw = json.loads((folder / "encoder.json").read_text())
    (folder / "encoder.json").write_text(json.dumps({**raw, **changes}))


def test_opened_without_network_from_any_place(folder, whole, clip_folder, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("asked the network"))
    encoder = open_encoder(f"run:{folder}")
    assert encoder.fingerprint == open_encoder(f"run:{whole}").fingerprint
    assert encoder.feature_fingerprint != open_encoder("hf:" + str(clip_folder)).feature_fingerprint
    assert np.allclose(np.linalg.norm(encoder.embed_texts(TEXTS), axis=1), 1, atol=1e-5)
    assert encoder.image_features(np.zeros((0, 3, SIZE, SIZE), np.float32)).shape == (0, 4)
    assert (encoder.preprocessing, encoder.logit_scale) == (PREPROCESSING, 2.0)


def test_what_changed_on_disk_is_opened_anew(folder):
    first = open_encoder(f"run:{folder}")
    edit(folder, logit_scale=3.0)
    assert open_encoder(f"run:{folder}").logit_scale == 3.0
    assert first.logit_scale == 2.0


def test_damaged_weights_are_one_sentence(folder):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    for damaged, says in (
        (content[: len(content) // 2], "cannot be read"),
        (b"", "cannot be read"),
        (content[:-1] + bytes([content[-1] ^ 1]), "not what encoder.json"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(OpenMofiError, match=says):
            open_encoder(f"run:{folder}")
    path.unlink()
    with pytest.raises(OpenMofiError, match="cannot be read"):
        open_encoder(f"run:{folder}")


def test_wrong_descriptions_are_one_sentence(folder):
    raw = json.loads((folder / "encoder.json").read_text())
    image = raw["image"]
    for changes, says in (
        ({"format_version": 3}, "format version 3"),
        ({"format": "other"}, "unknown format"),
        ({"image": None}, "cannot be read"),
        ({"image": {**image, "head": "none"}}, "disagree about the head"),
        ({"image": {"head": "linear"}}, "cannot be read"),
        ({"image": {**image, "architecture": {"kind": "other"}}}, "Unknown kind of tower"),
        ({"image": {**image, "architecture": {**image["architecture"], "name": "no_such"}}}, "cannot be built"),
        ({"image": {**image, "architecture": {**image["architecture"], "name": "test_vit2"}}}, "does not fit"),
        ({"preprocessing": {}}, "preprocessing"),
    ):
        (folder / "encoder.json").write_text(json.dumps(raw | changes))
        with pytest.raises(OpenMofiError, match=says):
            open_encoder(f"run:{folder}")
    (folder / "encoder.json").write_text("{")
    with pytest.raises(OpenMofiError, match="cannot be read"):
        open_encoder(f"run:{folder}")


def test_a_locked_side_must_be_the_one_it_was_trained_on(clip_folder, tiny_open_clip, tmp_path):
    base = open_encoder(f"hf:{clip_folder}")
    torch.manual_seed(0)
    image = image_trunk("timm:test_vit", size=SIZE)
    tensors = {f"image.trunk.{name}": value for name, value in image.module.state_dict().items()}
    tensors |= {
        "image.head.weight": torch.randn(4, image.dim),
        "image.head.bias": torch.zeros(4),
        "text.head.weight": torch.randn(4, 16),
        "text.head.bias": torch.zeros(4),
    }
    folder = save(tmp_path / "locked", tiny_open_clip, text=Side.locked("linear", base), tensors=tensors, tokens=None)
    assert open_encoder(f"run:{folder}").embed_texts(TEXTS).shape == (5, 4)
    raw = json.loads((folder / "encoder.json").read_text())
    edit(folder, text={**raw["text"], "encoder_fingerprint": "0" * 16})
    with pytest.raises(OpenMofiError, match="was trained on another"):
        open_encoder(f"run:{folder}")
    edit(folder, text={**raw["text"], "encoder": f"run:{folder}"})
    with pytest.raises(OpenMofiError, match="is its own base"):
        open_encoder(f"run:{folder}")


class Backwards(torch.nn.Module):
    """Normalises before the convolution, though it stands behind it."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = torch.nn.Conv2d(3, 3, 3), torch.nn.BatchNorm2d(3)

    def forward(self, pixels):
        return self.conv(self.bn(pixels)).mean((2, 3))


@pytest.mark.parametrize(
    ("name", "folds"),
    [("resnet10t", True), ("test_byobnet", True), ("resnetv2_50", True), ("test_vit", False), ("backwards", False)],
)
def test_folded_only_where_nothing_changes(name, folds):
    torch.manual_seed(0)
    module = Backwards() if name == "backwards" else timm.create_model(name, num_classes=0)
    module.eval().requires_grad_(False)
    norms = [child for child in module.modules() if isinstance(child, torch.nn.BatchNorm2d)]
    for child in norms:
        child.running_mean.normal_(0, 0.3)
        child.running_var.uniform_(0.5, 2)
        child.bias.normal_(0, 0.3)
    size = 160 if name == "test_vit" else SIZE
    made, pixels = folded(module, image_probe(size)), torch.randn(3, 3, size, size)
    left = sum(isinstance(child, torch.nn.BatchNorm2d) for child in made.modules())
    assert (made is not module) == folds == (left < len(norms))
    expected = module(pixels)
    assert (made(pixels) - expected).abs().max() < 1e-4 * expected.abs().max()

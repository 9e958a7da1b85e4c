"""The model before and during training: initial weights, heads, freezing, gradients, what it is fed."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from openmofi.encoders import Head, apply_head
from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.encoders.backbones import EfficientNetLite0, pretrained_lite0
from openmofi.training.model import build_model, inputs_of
from openmofi.training.model.towers import standardise
from openmofi.training.recipe import ImageModel, ModelSettings, TextModel

from .conftest import KINDS, TEXTS, batch_of, built, stirred


def changed(settings, side, **values):
    return dataclasses.replace(settings, **{side: dataclasses.replace(getattr(settings, side), **values)})


def states_equal(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", [*KINDS, "projection"])
def test_a_seed_gives_its_bits_whatever_torch_drew_before(kind, settings_of):
    torch.manual_seed(1)
    first, _ = built(settings_of(kind), seed=3)
    torch.manual_seed(2)
    expected = torch.rand(4)
    torch.manual_seed(2)
    second, _ = built(settings_of(kind), seed=3)
    assert torch.equal(torch.rand(4), expected)
    assert states_equal(first, second)
    assert not states_equal(first, built(settings_of(kind), seed=4)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_are_unit_float32_and_every_weight_gets_a_gradient(kind, settings_of):
    model, inputs = built(settings_of(kind))
    stirred(model)
    found = model(batch_of(inputs))
    assert set(found) == ({"image"} if inputs.text == "none" else {"image", "text"})
    for values in found.values():
        assert (values.dtype, values.shape) == (torch.float32, (5, settings_of(kind).dim))
        assert torch.allclose(values.norm(dim=1), torch.ones(5), atol=1e-5)
    target = torch.randn(5, settings_of(kind).dim)
    sum((values * target).sum() for values in found.values()).backward()
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert missing == []  # distributed data parallel waits for every one


def test_normalised_in_float32_under_autocast(settings_of):
    model, inputs = built(settings_of("vit"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(batch_of(inputs))
    for values in found.values():
        assert values.dtype == torch.float32
        assert (values.norm(dim=1) - 1).abs().max() < 1e-6


@pytest.mark.parametrize("kind", ["resnet", "vit", "open_clip", "clip", "siglip", "lite0"])
def test_recomputed_activations_give_the_same_gradients(kind, settings_of):
    settings = changed(settings_of(kind), "image", feature_dropout=0.0)
    again = changed(changed(settings, "image", gradient_checkpointing=True), "text", gradient_checkpointing=True)
    gradients, recomputed = [], []
    for wanted in (settings, again):
        model, inputs = built(wanted)
        calls = []
        for block in (
            module for name, module in model.named_modules() if name.endswith(("blocks.0", "layers.0.mlp", "layer1.0"))
        ):
            block.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        found = model(batch_of(inputs))
        (found["image"][:, 0].sum() + found["text"][:, 1].sum()).backward()
        gradients.append({name: value.grad for name, value in model.named_parameters()})
        recomputed.append(len(calls))
    for name, value in gradients[0].items():
        assert torch.allclose(value, gradients[1][name], atol=1e-6), name
    assert recomputed[1] > recomputed[0] > 0


def test_lite0_has_the_locked_encoders_features():
    pixels = np.random.default_rng(0).standard_normal((3, 3, 64, 64)).astype(np.float32)
    with torch.no_grad():
        found = pretrained_lite0().eval()(torch.from_numpy(pixels)).numpy()
    expected = EfficientNetLite0(size=64).features(pixels)
    assert found.shape == (3, 2768)
    assert np.abs(found - expected).max() < 1e-4


def test_lite0s_gradient_is_finite_on_blank_images():
    model = pretrained_lite0().train()
    model(torch.zeros(2, 3, 64, 64)).sum().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters())


def test_the_head_is_the_encoders_head_but_for_dropout(settings_of):
    model, _ = built(settings_of("projection"))
    stirred(model)
    head, features = model.image.head, torch.randn(6, 16)
    expected = apply_head(Head.from_tensors(head.state_dict()).tensors(), features)
    assert torch.allclose(head(features), expected, atol=1e-6)
    head.feature_dropout = 0.5
    assert not torch.allclose(head.train()(features), expected, atol=1e-3)
    assert torch.allclose(head.eval()(features), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["resnet", "projection"])
def test_standardised_by_what_is_seen(kind, settings_of):
    model, inputs = built(settings_of(kind))
    batches = [batch_of(inputs, 5), batch_of(inputs, 9)]
    before = {name: value.clone() for name, value in model.state_dict().items() if "head" not in name}
    standardise(model, batches)
    with torch.no_grad():
        seen = torch.cat([model.eval().image.trunk(model.image_input(batch)) for batch in batches]).double()
    std = seen.std(0, correction=0)
    assert torch.allclose(model.image.head.mean.double(), seen.mean(0), atol=1e-5)
    assert torch.allclose(model.image.head.std.double(), torch.where(std > 1e-6, std, 1), atol=1e-5)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    model.train()
    with pytest.raises(UsageError, match="no images"):
        standardise(model, [])


def test_features_that_never_vary_stay_finite(settings_of):
    model, _ = built(settings_of("projection"))
    standardise(model, [{"image_features": torch.ones(4, 16)}])
    assert torch.equal(model.image.head.std, torch.ones(16))
    assert model.training


def test_freeze_rules_and_frozen_statistics(settings_of):
    model, inputs = built(changed(settings_of("resnet"), "image", freeze=("trunk.layer[12].*", "head.bias")))
    frozen = {name for name, value in model.image.named_parameters() if not value.requires_grad}
    assert frozen == {
        name
        for name, _ in model.image.named_parameters()
        if name.startswith(("trunk.layer1.", "trunk.layer2.")) or name == "head.bias"
    }
    before = {name: value.clone() for name, value in model.image.named_buffers()}
    model.eval().train()
    model(batch_of(inputs))
    moved = {
        name.split(".")[1]
        for name, value in model.image.named_buffers()
        if name.startswith("trunk") and not torch.equal(value, before[name])
    }
    assert moved == {"conv1", "bn1", "layer3", "layer4"}


def test_freeze_rules_that_match_nothing_name_their_neighbours(settings_of):
    for pattern, near in (("trunk.block.*", "trunk.blocks."), ("blocks.0.*", "'trunk.blocks.0.*'"), ("hed*", "head.")):
        with pytest.raises(UsageError, match="matches no parameter") as error:
            built(changed(settings_of("vit"), "image", freeze=(pattern,)))
        assert near in str(error.value)
        assert "model.image.freeze" in str(error.value)


def test_what_the_models_are_fed(settings_of, clip_folder):
    live, locked = inputs_of(settings_of("vit")), inputs_of(settings_of("projection"))
    assert (live.preprocessing.size, live.image_encoder, live.text, live.text_encoder) == (32, None, "tokens", None)
    assert locked.preprocessing is None
    assert locked.image_encoder.spec == locked.text_encoder.spec == f"hf:{clip_folder}"
    assert locked.text == "features"
    assert inputs_of(settings_of("image_only")).text == "none"


@pytest.mark.parametrize(("kind", "length"), [("vit", 16), ("clip", 12), ("siglip", 12)])
def test_tokenizers_travel_to_workers(kind, length, settings_of):
    inputs = inputs_of(settings_of(kind))
    again = pickle.loads(pickle.dumps(inputs))
    found = inputs.tokenize([*TEXTS, "", "apple " * 100])
    assert (found.shape, found.dtype) == ((7, length), torch.int64)
    assert torch.equal(found, again.tokenize([*TEXTS, "", "apple " * 100]))
    assert inputs.tokenize(TEXTS[:1]).shape == (1, length)


def test_timms_preprocessing():
    found = inputs_of(ModelSettings(ImageModel(spec="timm:vit_base_patch16_224"))).preprocessing
    assert (found.size, found.resize_size, found.mean, found.interpolation) == (224, 248, (0.5,) * 3, "bicubic")
    from timm.data import create_transform, resolve_data_config
    from timm.models import get_pretrained_cfg

    from openmofi.encoders import preprocess

    from .conftest import drawn_image

    for name in ("resnet10t", "mobilenetv3_small_050"):
        transform = create_transform(**resolve_data_config(pretrained_cfg=get_pretrained_cfg(name).to_dict()))
        settings = ModelSettings(ImageModel(spec=f"timm:{name}"))
        mine = preprocess(drawn_image(300, 250), inputs_of(settings).preprocessing)
        assert np.abs(transform(drawn_image(300, 250)).numpy() - mine).max() < 1e-5


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ({"spec": "tim:resnet18"}, "use timm:NAME"),
        ({"spec": "timm:resnet1"}, "resnet10t|resnet18|resnet101"),
        ({"spec": "timm:resnet18.nothing"}, "a1_in1k"),
        ({"spec": "open_clip:ViT-B16"}, "ViT-B-16"),
        ({"spec": "open_clip:coca_ViT-B-32"}, "captions"),
        ({"spec": "backbone:other"}, "efficientnet-lite0"),
        ({"spec": "backbone:efficientnet-lite0", "size": 32}, "64 or more"),
        ({"spec": "backbone:efficientnet-lite0", "drop_path": 0.1}, "drop_path"),
        ({"spec": "timm:test_vit", "head": "lineer"}, "linear, mlp or none"),
        ({"spec": "timm:test_vit", "head": "none"}, "model.dim: 64"),
    ],
)
def test_settings_that_cannot_be_are_usage_errors(image, says):
    def build():
        settings = ModelSettings(ImageModel(**image), TextModel(), 8)
        build_model(settings, inputs_of(settings), seed=0)

    with pytest.raises(UsageError, match=says):
        build()


def test_weights_from_a_file(tmp_path, tiny_open_clip, settings_of):
    import timm
    from safetensors.torch import load_file, save_file

    torch.manual_seed(5)
    with_classes = timm.create_model("test_vit", num_classes=7, img_size=32).state_dict()
    without = {name: value for name, value in with_classes.items() if not name.startswith("head.")}
    save_file(with_classes, tmp_path / "classes.safetensors")
    torch.save({"state_dict": without}, tmp_path / "bare.pth")
    save_file(dict(list(without.items())[:-3]), tmp_path / "less.safetensors")
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "classes.safetensors").read_bytes()[:999])
    settings = settings_of("image_only")
    for name in ("classes.safetensors", "bare.pth"):
        trunk = built(changed(settings, "image", pretrained=str(tmp_path / name)))[0].image.trunk.state_dict()
        assert all(torch.equal(trunk[name], value) for name, value in without.items())
    for name in ("less.safetensors", "half.safetensors", "missing.pth"):
        with pytest.raises(OpenMofiError, match=name):
            built(changed(settings, "image", pretrained=str(tmp_path / name)))
    path = tiny_open_clip[1]
    model, _ = built(
        changed(changed(settings_of("open_clip"), "image", pretrained=str(path)), "text", pretrained=str(path))
    )
    weights = load_file(path)
    assert torch.equal(model.image.trunk.conv1.weight, weights["visual.conv1.weight"])
    assert torch.equal(model.text.trunk.token_embedding.weight, weights["token_embedding.weight"])


def test_pickled_code_in_a_weights_file_is_refused(tmp_path, settings_of, capsys):
    from ...encoders.libraries.test_huggingface import Attack

    torch.save({"state_dict": Attack()}, tmp_path / "attack.pth")
    with pytest.raises(OpenMofiError, match=r"attack\.pth"):
        built(changed(settings_of("image_only"), "image", pretrained=str(tmp_path / "attack.pth")))
    assert "unpickled!" not in capsys.readouterr().out

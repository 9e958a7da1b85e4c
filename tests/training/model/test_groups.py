import dataclasses

import pytest
import timm
import torch
from timm.models import group_parameters
from timm.optim import param_groups_layer_decay

from openmofi.training.model import layer_ids, parameter_groups
from openmofi.training.recipe import OptimizerSettings

from .conftest import KINDS, built

OPTIMIZER = OptimizerSettings(weight_decay=0.1, text_lr_multiplier=0.5)


def by_name(settings):
    model, _ = built(settings)
    groups = parameter_groups(model, settings, OPTIMIZER)
    return model, {
        name: (parameter, group["lr_scale"], group["weight_decay"])
        for group in groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_trained_parameter_is_in_one_group(kind, settings_of):
    settings = settings_of(kind)
    settings = (
        dataclasses.replace(settings, image=dataclasses.replace(settings.image, freeze=("head.*",)))
        if settings.image.head != "none" and kind != "locked_image"
        else settings
    )
    model, found = by_name(settings)
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert sorted(found) == sorted(trained)
    assert all(found[name][0] is value for name, value in trained.items())
    for name, (parameter, scale, decay) in found.items():
        assert scale == (0.5 if name.startswith("text.") else 1.0)
        if parameter.ndim <= 1 or name.endswith(".bias") or "position" in name or "pos_embed" in name:
            assert decay == 0.0, name
        elif name.endswith(("proj.weight", "fc1.weight", "head.weight", "conv1.weight")):
            assert decay == 0.1, name


def test_layers_as_timm_groups_them(settings_of):
    settings = settings_of("image_only")
    settings = dataclasses.replace(settings, image=dataclasses.replace(settings.image, layer_decay=0.7))
    _, found = by_name(settings)
    oracle_model = timm.create_model("test_vit", num_classes=0, img_size=32)
    names = {id(value): name for name, value in oracle_model.named_parameters()}
    for group in param_groups_layer_decay(
        oracle_model, weight_decay=0.1, layer_decay=0.7, no_weight_decay_list=oracle_model.no_weight_decay()
    ):
        for parameter in group["params"]:
            mine = found[f"image.trunk.{names[id(parameter)]}"]
            assert mine[1] == pytest.approx(group["lr_scale"])
            assert mine[2] == group["weight_decay"]
    assert found["image.head.weight"][1] == 1.0


def test_layers_of_a_timm_tower_in_open_clip_are_as_timm_groups_them():
    with torch.device("meta"):
        tower = timm.create_model("vit_pe_core_tiny_patch16_384", depth=3)
    oracle = group_parameters(tower, tower.group_matcher(coarse=False), reverse=True)
    found = layer_ids(torch.nn.ModuleDict({"trunk": tower}))
    # timm counts the last normalisation to the last block.
    assert {name: layer for name, layer in found.items() if not name.startswith("trunk.norm.")} == {
        f"trunk.{name}": layer for name, layer in oracle.items() if not name.startswith("norm.")
    }
    assert found["trunk.norm_pre.weight"] == 0


@pytest.mark.parametrize("kind", ["open_clip", "clip", "siglip", "lite0"])
def test_layers_by_block_where_the_library_says_nothing(kind, settings_of):
    model, _ = built(settings_of(kind))
    found = layer_ids(model.image.trunk)
    last = max(found.values())
    assert list(found) == [name for name, _ in model.image.trunk.named_parameters()]
    assert set(found.values()) == set(range(last + 1))
    ends = {
        "open_clip": ("conv1.weight", "ln_post.weight", 3),
        "lite0": ("conv_stem.weight", "conv_head.weight", 9),
        "clip": ("tower.embeddings.class_embedding", "projection.weight", 4),
        "siglip": ("tower.embeddings.position_embedding.weight", "tower.post_layernorm.weight", 4),
    }[kind]
    assert (found[ends[0]], found[ends[1]], last + 1) == (0, last, ends[2])
    settings = settings_of(kind)
    settings = dataclasses.replace(settings, image=dataclasses.replace(settings.image, layer_decay=0.5))
    groups = parameter_groups(model, settings, OPTIMIZER)
    scales = {name: group["lr_scale"] for group in groups for name in group["names"]}
    assert scales[f"image.trunk.{ends[0]}"] == 0.5**last
    assert scales[f"image.trunk.{ends[1]}"] == 1.0


def test_the_text_tower_has_layers_too(settings_of):
    settings = settings_of("open_clip")
    settings = dataclasses.replace(settings, text=dataclasses.replace(settings.text, layer_decay=0.5))
    _, found = by_name(settings)
    blocks = {
        name.split(".")[4]: scale
        for name, (_, scale, _) in found.items()
        if ".resblocks." in name and name.startswith("text.")
    }
    assert found["text.trunk.token_embedding.weight"][1] == 0.5 * 0.5 ** (len(blocks) + 1)
    assert blocks == {str(number): 0.5 * 0.5 ** (len(blocks) - number) for number in range(len(blocks))}
    assert {scale for name, (_, scale, _) in found.items() if name.startswith("image.")} == {1.0}


def test_groups_make_an_optimizer(settings_of):
    model, _ = built(settings_of("vit"))
    groups = parameter_groups(model, settings_of("vit"), OPTIMIZER)
    optimizer = torch.optim.AdamW([{key: group[key] for key in group if key != "names"} for group in groups], lr=1e-3)
    assert len(optimizer.param_groups) == len(groups) == 4

"""Patches that a training step leaves out: how many, which, and where they may not be."""

import open_clip
import pytest
import timm
import torch

from openmofi.config import changed
from openmofi.errors import UsageError
from openmofi.plugins.planner.fake_passes import measured_towers
from openmofi.training.model import build_model, inputs_of
from openmofi.training.recipe import Recipe

SPECS = {
    "timm:test_vit": (160, 16, 1),  # class token
    "timm:vit_small_patch16_dinov3": (64, 16, 5),  # class and register tokens, rotary positions
    "open_clip:ViT-S-32": (224, 32, 1),
}


def built(spec, size, **image):
    settings = changed(
        Recipe(),
        {"model.image.spec": spec, "model.image.size": size, **{f"model.image.{k}": v for k, v in image.items()}},
    ).model
    return build_model(settings, inputs_of(settings), seed=0)


def lengths(model, pixels):
    """Numbers of tokens that the blocks of the image tower see."""
    found = []
    blocks = [
        module
        for module in model.image.modules()
        if type(module).__name__ in ("Block", "EvaBlock", "ResidualAttentionBlock")
    ]
    handles = [block.register_forward_hook(lambda _, inputs, __: found.append(inputs[0].shape[1])) for block in blocks]
    model({"image": pixels})
    for handle in handles:
        handle.remove()
    return set(found)


@pytest.mark.parametrize("spec", SPECS)
def test_a_share_of_the_patches_is_left_out_in_training_alone(spec):
    size, patch, others = SPECS[spec]
    model, plain = built(spec, size, patch_dropout=0.6), built(spec, size)
    # The same weights under the same names: what is written opens without it.
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert model.image.architecture == plain.image.architecture
    patches, pixels = (size // patch) ** 2, torch.randn(2, 3, size, size)
    assert lengths(model, pixels) == {int(patches * 0.4) + others}
    assert lengths(plain, pixels) == {patches + others}
    with torch.no_grad():
        assert torch.equal(model.eval()({"image": pixels})["image"], plain.eval()({"image": pixels})["image"])


def test_which_patches_is_decided_by_the_seed_of_the_step():
    model, pixels = built("timm:test_vit", 160, patch_dropout=0.5), torch.randn(2, 3, 160, 160)

    def embedded(seed):
        torch.manual_seed(seed)
        return model({"image": pixels})["image"]

    assert torch.equal(embedded(1), embedded(1))
    assert not torch.allclose(embedded(1), embedded(2))


def test_it_is_what_the_libraries_do():
    model, pixels = built("timm:test_vit", 160, patch_dropout=0.5), torch.randn(2, 3, 160, 160)
    theirs = timm.create_model("test_vit", num_classes=0, patch_drop_rate=0.5).train()
    theirs.load_state_dict(model.image.trunk.state_dict())
    torch.manual_seed(3)
    expected = theirs(pixels)
    torch.manual_seed(3)
    assert torch.equal(model.image.trunk(pixels), expected)


def test_open_clip_keeps_as_many_patches():
    ours, theirs = (
        built("open_clip:ViT-S-32", 224, patch_dropout=0.5).image.trunk,
        open_clip.create_model("ViT-S-32", force_patch_dropout=0.5).visual,
    )
    tokens = torch.randn(2, 50, 8)
    kept = [model.train().patch_dropout(tokens) for model in (ours, theirs)]
    assert kept[0].shape == kept[1].shape == (2, 25, 8)
    for one in kept:
        assert torch.equal(one[:, 0], tokens[:, 0])


@pytest.mark.parametrize("spec", ["timm:test_resnet", "open_clip:RN50"])
def test_towers_that_need_all_patches_are_refused(spec):
    with pytest.raises(UsageError, match=f"patch_dropout is of vision transformers .*{spec}"):
        built(spec, 0, patch_dropout=0.5)


def test_the_plan_follows():
    recipe = changed(Recipe(), {"model.image.spec": "timm:test_vit", "model.image.size": 160, "data.batch_size": 64})
    inputs = inputs_of(recipe.model)
    whole, half = (measured_towers(changed(recipe, {"model.image.patch_dropout": rate}), inputs) for rate in (0.0, 0.5))
    assert half.forward < 0.65 * whole.forward
    assert half.peak(64) < 0.75 * whole.peak(64)
    assert half.parameters == whole.parameters

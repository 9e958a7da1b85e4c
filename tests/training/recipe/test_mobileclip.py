"""MobileCLIP's models and recipes against what their authors published (github.com/apple/ml-mobileclip, 4144bb1)."""

import open_clip
import pytest

from openmofi.training.model import build_model, inputs_of
from openmofi.training.recipe.rules import load_recipe

# mobileclip2/model_configs: dimension, image tower, pooling, size; text width, heads, causal. All of 12 layers.
PUBLISHED = {
    "MobileCLIP2-S0": (512, "fastvit_mci0", "avg", 256, 512, 8, False),
    "MobileCLIP2-S2": (512, "fastvit_mci2", "avg", 256, 512, 8, False),
    "MobileCLIP2-S3": (768, "fastvit_mci3", "avg", 256, 768, 12, False),
    "MobileCLIP2-S4": (768, "fastvit_mci4", "avg", 256, 768, 12, False),
    "MobileCLIP2-B": (512, "vit_base_mci_224", "token", 224, 512, 8, True),
    "MobileCLIP2-L-14": (768, "vit_large_patch14_clip_224", "token", 224, 768, 12, False),
}
# Of the paper's table 11, in millions: of the image and of the text tower.
PARAMETERS = {"mobileclip_s0": (11.4, 42.4), "mobileclip2_s0": (11.4, 63.4), "mobileclip2_s4": (321.6, 123.6)}
# training/configs/run_datacompdr1b.sh and run_dfndr2b.sh, with the former's note for the S models.
COMMAND = {
    "data.batch_size": 2**13 * 8,
    "objectives.reinforced.share": 1.0,
    "objectives.reinforced.captions": 1.0,
    "optimizer.lr": 1e-3,
    "optimizer.warmup": 1000,
    "optimizer.weight_decay": 0.2,
    "optimizer.clip": 1.0,
    "optimizer.betas": (0.9, 0.95),
    "run.steps": 200_000,
    "data.augment.flip": 0.0,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_open_clip_builds_the_models_of_the_authors(name):
    config = open_clip.get_model_config(name)
    vision, text = config["vision_cfg"], config["text_cfg"]
    found = (
        config["embed_dim"],
        vision["timm_model_name"],
        vision["timm_pool"],
        vision["image_size"],
        text["width"],
        text["heads"],
        not text.get("no_causal_mask", False),
    )
    assert found == PUBLISHED[name]
    assert (text["layers"], text["context_length"], text["vocab_size"]) == (12, 77, 49_408)


@pytest.mark.parametrize("name", PARAMETERS)
def test_recipes_are_the_published_command(name):
    recipe = load_recipe(name)
    for key, expected in COMMAND.items():
        found = recipe
        for part in key.split("."):
            found = getattr(found, part)
        assert found == expected, key


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_towers_have_the_published_size(name):
    recipe = load_recipe(name)
    model = build_model(recipe.model, inputs_of(recipe.model), seed=0)
    for side, expected in zip(("image", "text"), PARAMETERS[name], strict=True):
        found = sum(values.numel() for values in getattr(model, side).parameters()) / 1e6
        assert found == pytest.approx(expected, rel=0.002)


@pytest.mark.parametrize("name", ["mobileclip2_s0", "mobileclip2_s4"])
def test_the_towers_are_those_of_the_model(name):
    recipe = load_recipe(name)
    arch = recipe.model.text.spec.removeprefix("open_clip:")
    dim, tower, *_ = PUBLISHED[arch]
    assert (recipe.model.dim, recipe.model.image.spec) == (dim, f"timm:{tower}")

"""Tiny models of every kind; the encoders' tests write the checkpoints."""

import numpy as np
import pytest
import torch

from openmofi.training.model import build_model, inputs_of
from openmofi.training.recipe import ImageModel, ModelSettings, TextModel

from ...encoders.conftest import TEXTS, clip_folder, drawn_image, siglip_folder, tiny_open_clip

__all__ = [
    "KINDS",
    "TEXTS",
    "batch_of",
    "built",
    "clip_folder",
    "drawn_image",
    "settings_of",
    "siglip_folder",
    "stirred",
    "tiny_open_clip",
]

KINDS = ("resnet", "vit", "open_clip", "clip", "siglip", "lite0", "mobile", "image_only", "locked_text", "locked_image")


@pytest.fixture(scope="session")
def settings_of(tiny_open_clip, clip_folder, siglip_folder):
    """Kind → settings of a small model."""
    open_clip = f"open_clip:{tiny_open_clip[0]}"
    locked = f"encoder:hf:{clip_folder}"

    def make(kind):
        text = TextModel(spec=open_clip, head="mlp", head_hidden=6)
        return {
            "resnet": ModelSettings(ImageModel(spec="timm:resnet10t", size=32, standardise=True), text, 8),
            "vit": ModelSettings(ImageModel(spec="timm:test_vit", size=32, head="mlp", feature_dropout=0.3), text, 8),
            "open_clip": ModelSettings(ImageModel(spec=open_clip, head="none"), TextModel(open_clip, head="none"), 16),
            "clip": ModelSettings(ImageModel(spec=f"hf:{clip_folder}"), TextModel(f"hf:{clip_folder}"), 8),
            "siglip": ModelSettings(ImageModel(spec=f"hf:{siglip_folder}"), TextModel(f"hf:{siglip_folder}"), 8),
            "lite0": ModelSettings(ImageModel(spec="backbone:efficientnet-lite0", size=64, standardise=True), text, 8),
            "mobile": ModelSettings(ImageModel(spec="timm:fastvit_mci0", size=64), TextModel("mobile:mct-tiny"), 8),
            "image_only": ModelSettings(ImageModel(spec="timm:test_vit", size=32), TextModel(), 8),
            "locked_text": ModelSettings(ImageModel(spec="timm:test_vit", size=32), TextModel(locked), 8),
            "locked_image": ModelSettings(ImageModel(spec=locked, standardise=True), text, 8),
            "projection": ModelSettings(ImageModel(spec=locked, standardise=True, head="mlp"), TextModel(locked), 8),
            "projection_image": ModelSettings(ImageModel(spec=locked), TextModel(), 8),
            "locked_bare": ModelSettings(ImageModel(spec=locked, head="none"), TextModel(locked), 16),
        }[kind]

    return make


def built(settings, seed=0):
    inputs = inputs_of(settings)
    return build_model(settings, inputs, seed=seed), inputs


def stirred(model, seed=7):
    """The model with every weight moved and statistics that are not the initial ones, as after training."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=draw)
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "mean")):
                buffer += 0.1 * torch.randn(buffer.shape, generator=draw)
            elif name.endswith(("running_var", "std")):
                buffer *= 1 + 0.3 * torch.rand(buffer.shape, generator=draw)
    return model


def batch_of(inputs, count=5, texts=TEXTS):
    """A batch of images and texts as the data would make it."""
    images = [drawn_image(40 + seed, 37, seed) for seed in range(count)]
    batch = {}
    if inputs.image_encoder is None:
        from openmofi.encoders import preprocess

        batch["image"] = torch.from_numpy(np.stack([preprocess(image, inputs.preprocessing) for image in images]))
    else:
        encoder = inputs.image_encoder
        pixels = np.stack([encoder.preprocess(image) for image in images])
        batch["image_features"] = torch.from_numpy(encoder.image_features(pixels))
    if inputs.text == "tokens":
        batch["text_tokens"] = inputs.tokenize(texts)
    elif inputs.text == "features":
        batch["text_features"] = torch.from_numpy(inputs.text_encoder.text_features(texts))
    return batch

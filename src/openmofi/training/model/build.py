"""Builds a model from its settings: the same settings and seed give the same bits, whatever torch drew before."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from openmofi.encoders import Head, open_encoder
from openmofi.encoders.towers import Trunk, image_preprocessing, image_trunk, text_tokens, text_trunk
from openmofi.errors import UsageError
from openmofi.training.inputs import ModelInputs
from openmofi.training.model.freeze import freeze
from openmofi.training.model.towers import DualEncoder, Tower, TrainedHead
from openmofi.training.recipe.schema import ImageModel, ModelSettings, TextModel

LOCKED = "encoder:"
_Built = TypeVar("_Built")


def inputs_of(settings: ModelSettings) -> ModelInputs:
    """What the model of these settings is fed; opens locked encoders, and builds no network to train.

    Raises:
        UsageError, OpenMofiError: see `encoders.towers.image_trunk`.
    """
    image, text = settings.image, settings.text
    locked = image.spec.startswith(LOCKED)
    preprocessing = None if locked else image_preprocessing(image.spec, pretrained=image.pretrained, size=image.size)
    image_encoder = open_encoder(image.spec.removeprefix(LOCKED)) if locked else None
    if text.spec == "none":
        return ModelInputs(preprocessing, image_encoder)
    if text.spec.startswith(LOCKED):
        same = text.spec == image.spec
        return ModelInputs(preprocessing, image_encoder, "features",
                           image_encoder if same else open_encoder(text.spec.removeprefix(LOCKED)))
    return ModelInputs(preprocessing, image_encoder, "tokens", None, text_tokens(text.spec))


def build_model(settings: ModelSettings, inputs: ModelInputs, *, seed: int) -> DualEncoder:
    """The model before training, on the CPU, in training mode, freeze rules applied.

    Args:
        settings: see `ModelSettings`.
        inputs: `inputs_of(settings)`.
        seed: of all random weights; torch's global generator is neither read nor moved.

    Raises:
        UsageError: a setting that the model does not take; a freeze rule that matches nothing; no such model.
        OpenMofiError: weights that are missing, damaged or do not fit.
    """
    seeds = [int(value) for value in np.random.SeedSequence(seed).generate_state(4)]
    image = _image_tower(settings, inputs, seeds[0], seeds[1])
    text = None if inputs.text == "none" else _text_tower(settings, inputs, seeds[2], seeds[3])
    return DualEncoder(image, text).train()


def _image_tower(settings: ModelSettings, inputs: ModelInputs, seed: int, head_seed: int) -> Tower:
    side = settings.image
    if inputs.image_encoder is not None:
        features = inputs.image_encoder.feature_dim
        return _tower(None, features, side, settings.dim, head_seed, "model.image")
    trunk = _seeded(seed, partial(image_trunk, side.spec, pretrained=side.pretrained, size=side.size,
                                  drop_path=side.drop_path))
    return _tower(trunk, trunk.dim, side, settings.dim, head_seed, "model.image")


def _text_tower(settings: ModelSettings, inputs: ModelInputs, seed: int, head_seed: int) -> Tower:
    side = settings.text
    if inputs.text_encoder is not None:
        features = inputs.text_encoder.text_feature_dim
        return _tower(None, features, side, settings.dim, head_seed, "model.text")
    trunk = _seeded(seed, partial(text_trunk, side.spec, pretrained=side.pretrained))
    return _tower(trunk, trunk.dim, side, settings.dim, head_seed, "model.text")


def _tower(trunk: Trunk | None, features: int, side: ImageModel | TextModel, dim: int, seed: int,
           setting: str) -> Tower:
    head = _head(features, side, dim, seed, setting)
    tower = Tower(nn.Identity() if trunk is None else trunk.module, head, None if trunk is None else trunk.architecture)
    if side.gradient_checkpointing and trunk is not None:
        _checkpoint_gradients(trunk.module, setting)
    freeze(tower, side.freeze, f"{setting}.freeze")
    return tower


def _head(features: int, side: ImageModel | TextModel, dim: int, seed: int, setting: str) -> nn.Module:
    standardised = isinstance(side, ImageModel) and side.standardise
    dropout = side.feature_dropout if isinstance(side, ImageModel) else 0.0
    if side.head == "none":
        if features != dim or standardised or dropout:
            raise UsageError(f"{setting}.head is none, so model.dim must be the tower's {features}, and there is "
                             "nothing to standardise or to drop features before.",
                             f"Set model.dim: {features}, or {setting}.head: linear.")
        return nn.Identity()
    hidden = (side.head_hidden or dim) if side.head == "mlp" else 0
    mean, std = (np.zeros(features, np.float32), np.ones(features, np.float32)) if standardised else (None, None)
    return TrainedHead(Head.initial(features, dim, seed=seed, hidden=hidden, mean=mean, std=std),
                       feature_dropout=dropout)


def _seeded(seed: int, make: Callable[[], _Built]) -> _Built:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _checkpoint_gradients(trunk: Any, setting: str) -> None:
    if hasattr(trunk, "set_grad_checkpointing"):
        try:
            trunk.set_grad_checkpointing(True)
        except (AssertionError, NotImplementedError) as error:
            raise UsageError(f"{setting}: this model cannot recompute its activations.",
                             f"Set {setting}.gradient_checkpointing: false.") from error
        return
    # transformers asks its layers, and enables it from the whole model only, of which a tower is a part.
    for layer in trunk.modules():
        if hasattr(layer, "gradient_checkpointing"):
            layer.gradient_checkpointing = True
            layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

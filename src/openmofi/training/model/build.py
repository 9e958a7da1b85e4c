"""Builds a model from its settings: the same settings and seed give the same bits, whatever torch drew before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from openmofi.encoders import Array, Head, open_encoder
from openmofi.encoders.towers import Trunk, image_preprocessing, image_trunk, text_tokens, text_trunk
from openmofi.errors import UsageError
from openmofi.training.inputs import ModelInputs
from openmofi.training.model.freeze import freeze
from openmofi.training.model.towers import DualEncoder, Projected, Tower, TrainedHead
from openmofi.training.recipe.schema import ImageModel, ModelSettings, TextModel

LOCKED = "encoder:"


def inputs_of(settings: ModelSettings) -> ModelInputs:
    """What the model of these settings is fed; opens locked encoders, and builds no network to train.

    Raises:
        UsageError, OpenMofiError: see `encoders.towers.image_trunk`.
    """
    image, text = settings.image, settings.text
    locked = image.spec.startswith(LOCKED)
    preprocessing = None if locked else image_preprocessing(image.spec, pretrained=image.pretrained, size=image.size)
    encoder = open_encoder(image.spec.removeprefix(LOCKED)) if locked else None
    if text.spec == "none":
        return ModelInputs(preprocessing, encoder)
    if text.spec.startswith(LOCKED):
        same = encoder if text.spec == image.spec else None
        text_encoder = same or open_encoder(text.spec.removeprefix(LOCKED))
        text_encoder.text_features(["a"])  # one of images alone is refused before anything is read
        return ModelInputs(preprocessing, encoder, "features", text_encoder)
    return ModelInputs(preprocessing, encoder, "tokens", tokenize=text_tokens(text.spec))


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
    image, text = settings.image, settings.text
    _check_residual(settings, inputs)
    encoder = inputs.image_encoder
    locked_image = None if encoder is None else _Locked(encoder.feature_dim, encoder.image_projection)
    image_tower = _tower(
        image,
        settings.dim,
        "model.image",
        seeds[:2],
        locked_image,
        partial(image_trunk, image.spec, pretrained=image.pretrained, size=image.size, drop_path=image.drop_path),
    )
    if inputs.text == "none":
        return DualEncoder(image_tower, None).train()
    encoder = inputs.text_encoder
    locked_text = None if encoder is None else _Locked(encoder.text_feature_dim, encoder.text_projection)
    return DualEncoder(
        image_tower,
        _tower(
            text,
            settings.dim,
            "model.text",
            seeds[2:],
            locked_text,
            partial(text_trunk, text.spec, pretrained=text.pretrained),
        ),
    ).train()


@dataclass(frozen=True)
class _Locked:
    """A side of a locked encoder: the dimension of its features, and its own projection of them."""

    features: int
    projection: Callable[[Array], Array] | None


def _check_residual(settings: ModelSettings, inputs: ModelInputs) -> None:
    """Refuse residual heads over what has no embedding of their dimension."""
    image, text, base = settings.image, settings.text, inputs.image_encoder
    if inputs.text == "none" and not image.residual:
        return
    if inputs.text != "none" and image.residual != text.residual:
        raise UsageError("model.image.residual and model.text.residual differ.", "Set both, or neither.")
    if not image.residual:
        return
    same = inputs.text == "none" or inputs.text_encoder is base
    if base is None or not base.has_joint_space or not same or "none" in (image.head, text.head):
        raise UsageError(
            "model.image.residual adds a head to the embedding of one locked encoder, which "
            f"{image.spec} {'and ' + text.spec if not same else ''} does not give.",
            "Set model.image.residual and model.text.residual to false.",
        )
    if base.dim != settings.dim:
        raise UsageError(
            f"model.image.residual needs model.dim = {base.dim}, the dimension of {image.spec}; it is {settings.dim}.",
            f"Set model.dim: {base.dim}.",
        )


def _tower(
    side: ImageModel | TextModel,
    dim: int,
    setting: str,
    seeds: Sequence[int],
    locked: _Locked | None,
    make_trunk: Callable[[], Trunk],
) -> Tower:
    """A tower; `locked` is a side of a locked encoder, in place of a trunk."""
    if locked is not None:
        projection = locked.projection if side.residual else None
        tower = Tower(
            nn.Identity() if projection is None else Projected(projection),
            _head(dim if side.residual else locked.features, side, dim, seeds[1], setting),
            None,
        )
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds[0])
            trunk = make_trunk()
        tower = Tower(trunk.module, _head(trunk.dim, side, dim, seeds[1], setting), trunk.architecture)
        if side.gradient_checkpointing:
            _checkpoint_gradients(trunk.module, setting)
    freeze(tower, side.freeze, f"{setting}.freeze")
    return tower


def _head(features: int, side: ImageModel | TextModel, dim: int, seed: int, setting: str) -> nn.Module:
    standardised = isinstance(side, ImageModel) and side.standardise
    dropout = side.feature_dropout if isinstance(side, ImageModel) else 0.0
    if side.head == "none":
        if features != dim or standardised or dropout:
            raise UsageError(
                f"{setting}.head is none, so model.dim must be the tower's {features}, and there is "
                "nothing to standardise or to drop features before.",
                f"Set model.dim: {features}, or {setting}.head: linear.",
            )
        return nn.Identity()
    hidden = (side.head_hidden or dim) if side.head == "mlp" else 0
    mean, std = (np.zeros(features, np.float32), np.ones(features, np.float32)) if standardised else (None, None)
    head = Head.initial(features, dim, seed=seed, hidden=hidden, mean=mean, std=std, zero=side.residual)
    return TrainedHead(head, feature_dropout=dropout, residual=side.residual)


def _checkpoint_gradients(trunk: Any, setting: str) -> None:
    if hasattr(trunk, "set_grad_checkpointing"):
        try:
            trunk.set_grad_checkpointing(True)
        except (AssertionError, NotImplementedError) as error:
            raise UsageError(
                f"{setting}: this model cannot recompute its activations.",
                f"Set {setting}.gradient_checkpointing: false.",
            ) from error
        return
    # transformers asks its layers, and enables it from the whole model only, of which a tower is a part.
    for layer in trunk.modules():
        if hasattr(layer, "gradient_checkpointing"):
            layer.gradient_checkpointing = True
            layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

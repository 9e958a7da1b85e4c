"""Builds a model from its settings: the same settings and seed give the same bits, whatever torch drew before."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from openmofi.arrays import Array
from openmofi.encoders import Encoder, Head, open_encoder, save_heads
from openmofi.encoders.folder import Side
from openmofi.encoders.preprocess import Tokens
from openmofi.encoders.towers import Trunk, image_preprocessing, image_trunk, text_tokens, text_trunk
from openmofi.encoders.trained import save_trained_encoder
from openmofi.errors import UsageError
from openmofi.extensions import own_part
from openmofi.training.model.adaptation import freeze
from openmofi.training.model.towers import DualEncoder, ModelInputs, Projected, Tower, TrainedHead
from openmofi.training.optimization import grouped
from openmofi.training.recipe import ImageModel, ModelSettings, OptimizerSettings, TextModel


class Ema:
    """Exponential moving average of a model's trained parameters; buffers are copied as they are.

    average ← d · average + (1 − d) · weights after each step, with d = min(decay, (1 + t) / (10 + t)) at the t-th
    update, from 0: the average follows closely while little has been seen, and it can be used from the first step
    (the schedule of TensorFlow's `ExponentialMovingAverage`; timm's ModelEmaV3 offers it as warm-up). Parameters may
    be DTensors: then the average is sharded as they are.

    Args:
        model: its current weights are the first average.
        decay: 0 to 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._updates = torch.zeros((), dtype=torch.int64)
        with torch.no_grad():
            self._weights = {name: value.detach().clone() for name, value in _trained(model).items()}
            self._buffers = {name: value.detach().clone() for name, value in model.named_buffers()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        count = int(self._updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        current = _trained(model)
        if current:
            torch._foreach_lerp_(
                list(self._weights.values()), [current[name].detach() for name in self._weights], 1 - decay
            )
        for name, value in model.named_buffers():
            self._buffers[name].copy_(value)
        self._updates += 1

    def averaged(self) -> dict[str, Tensor]:
        """Name of a trained parameter or a buffer of the model → its average, sharing memory."""
        return self._weights | self._buffers

    def state_dict(self) -> dict[str, Tensor]:
        """Name → tensor, sharing memory: `updates`, `weights.…` and `buffers.…`."""
        return {
            "updates": self._updates,
            **{f"weights.{name}": value for name, value in self._weights.items()},
            **{f"buffers.{name}": value for name, value in self._buffers.items()},
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state, which must be of the same model.

        Raises:
            KeyError: a tensor is missing.
        """
        for name, value in self.state_dict().items():
            value.copy_(state[name])


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


# The blocks of transformers and convolutional nets as open_clip, transformers and timm name them.
_BLOCK = re.compile(r"(?:^|\.)(?:blocks|resblocks|layers|stages|layer(?=\d))\.?(\d+)\.")
_STEM = re.compile(
    r"(?:^|\.)(?:conv1|conv_stem|bn1|stem|patch_embed\w*|patch_embedding|patchnorm_pre_ln|ln_pre|"
    r"norm_pre|pre_layrnorm|embeddings|token_embedding|class_embedding|positional_embedding|pos_embed|cls_token|"
    r"reg_token)(?:\.|$)"
)
# Positions and special tokens; timm's own lists say the same and more.
_UNDECAYED = re.compile(
    r"(?:^|\.)(?:pos_embed\w*|positional_embedding|position_embedding|cls_token|reg_token|"
    r"dist_token|class_embedding|relative_position_bias_table|logit_scale|probe)(?:\.|$)"
)


def parameter_groups(model: DualEncoder, settings: ModelSettings, optimizer: OptimizerSettings) -> list[dict[str, Any]]:
    """The trained parameters in groups, in an order that the model decides.

    A block's learning rate is its tower's `layer_decay` times the next one's (BEiT, arXiv 2106.08254, appendix), and
    that of the last part of the trunk and of the head is whole; the text tower's is multiplied by
    `text_lr_multiplier`. Biases, normalisations, all else of one dimension, positions, special tokens and what timm
    names besides are not decayed.

    Returns:
        The groups of each tower, by names as in the model; see `grouped`.
    """
    groups: list[dict[str, Any]] = []
    sides = [("image", model.image, settings.image.layer_decay, 1.0)]
    if model.text is not None:
        sides.append(("text", model.text, settings.text.layer_decay, optimizer.text_lr_multiplier))
    for side, tower, decay, factor in sides:
        layers = {f"trunk.{name}": layer for name, layer in layer_ids(tower.trunk).items()} if decay != 1.0 else {}
        last, undecayed = max(layers.values(), default=0), _undecayed(tower)
        groups += grouped(
            (
                f"{side}.{name}",
                parameter,
                factor * decay ** (last - layers.get(name, last)),
                0.0 if parameter.ndim <= 1 or name in undecayed else optimizer.weight_decay,
            )
            for name, parameter in tower.named_parameters()
        )
    return groups


def layer_ids(trunk: Any) -> dict[str, int]:
    """Name of a parameter → its layer, from 0 at the input; timm's own grouping where the model has one."""
    names = [name for name, _ in trunk.named_parameters()]
    if hasattr(trunk, "group_matcher"):
        from timm.models import group_parameters

        layers = group_parameters(trunk, trunk.group_matcher(coarse=False), reverse=True)
        return {name: int(layers[name]) for name in names if name in layers}
    blocks = {name: int(match.group(1)) + 1 for name in names if (match := _BLOCK.search(name))}
    last = max(blocks.values(), default=0) + 1
    return {name: blocks.get(name, 0 if _STEM.search(name) else last) for name in names}


def _undecayed(tower: Tower) -> set[str]:
    trunk: Any = tower.trunk
    listed = {f"trunk.{name}" for name in trunk.no_weight_decay()} if hasattr(trunk, "no_weight_decay") else set()
    return listed | {name for name, _ in tower.named_parameters() if _UNDECAYED.search(name)}


def save_encoder(
    folder: str | Path,
    model: DualEncoder,
    settings: ModelSettings,
    inputs: ModelInputs,
    *,
    logit_scale: float,
    recipe: Mapping[str, Any],
) -> Path:
    """Write the model, whose embeddings the opened encoder gives.

    Two heads on one locked encoder (or an image head alone) become a projection over that encoder, a folder of a few
    megabytes. Anything else becomes a `trained` encoder: the weights of every tower that was trained, and a locked
    side by spec and fingerprint. An encoder without a text tower opens too, and raises for texts.

    Args:
        folder: created where it is missing.
        model: in one piece (no DTensors); its adapters are merged.
        settings, inputs: that it was built with.
        logit_scale: the factor on cosines that it was trained with; 1.0 where there is none.
        recipe: how it was trained; kept for readers, JSON values.

    Raises:
        OpenMofiError: the folder cannot be written.
    """
    if settings.image.lora.rank or settings.text.lora.rank:
        own_part("adapters", "low_rank").merge(model)
    base, text_base = inputs.image_encoder, inputs.text_encoder
    heads = {settings.image.head} | ({settings.text.head} if model.text is not None else set())
    if base is not None and "none" not in heads and (model.text is None or text_base is base):
        return save_heads(
            folder,
            base=base,
            image_head=Head.from_tensors(model.image.head.state_dict()),
            text_head=None if model.text is None else Head.from_tensors(model.text.head.state_dict()),
            logit_scale=logit_scale,
            settings=recipe,
            adapter=settings.image.residual,
        )
    preprocessing = base.preprocessing if base is not None else inputs.preprocessing
    assert preprocessing is not None
    return save_trained_encoder(
        folder,
        image=_side(settings.image.head, model.image, base),
        text=None if model.text is None else _side(settings.text.head, model.text, text_base),
        tensors=model.state_dict(),
        dim=settings.dim,
        logit_scale=logit_scale,
        preprocessing=preprocessing,
        tokens=cast("Tokens | None", inputs.tokenize),
        recipe=recipe,
    )


def _side(head: str, tower: Tower, base: Encoder | None) -> Side:
    return Side(head, tower.architecture) if base is None else Side.locked(head, base)


LOCKED = "encoder:"


def inputs_of(settings: ModelSettings) -> ModelInputs:
    """Return the `ModelInputs` of these settings; opens locked encoders, and builds no network to train.

    Raises:
        UsageError, OpenMofiError: see `encoders.towers.image_trunk`; the tower does not take the first sizes.
    """
    image, text = settings.image, settings.text
    locked = image.spec.startswith(LOCKED)
    preprocessing = None if locked else image_preprocessing(image.spec, pretrained=image.pretrained, size=image.size)
    if image.first_sizes:
        own_part("adapters", "first_sizes").require_sizes(image, preprocessing)
    encoder = open_encoder(image.spec.removeprefix(LOCKED)) if locked else None
    made = partial(ModelInputs, preprocessing, encoder, first_sizes=(image.first_sizes, image.first_share))
    if text.spec == "none":
        return made()
    if text.spec.startswith(LOCKED):
        same = encoder if text.spec == image.spec else None
        text_encoder = same or open_encoder(text.spec.removeprefix(LOCKED))
        text_encoder.text_features(["a"])  # one of images alone is refused before anything is read
        return made("features", text_encoder)
    return made("tokens", tokenize=text_tokens(text.spec))


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
        return DualEncoder(image_tower, None, inputs.preprocessing).train()
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
        inputs.preprocessing,
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
    if side.lora.rank:
        own_part("adapters", "low_rank").adapt(tower, side.lora, seeds[0], f"{setting}.lora.targets")
    if isinstance(side, ImageModel) and side.patch_dropout:
        own_part("adapters", "patch_dropout")(tower.trunk, side.patch_dropout, side.spec)
    if isinstance(side, ImageModel) and side.first_sizes:
        own_part("adapters", "first_sizes").take_any_size(tower.trunk)
    if not side.freeze_steps:
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

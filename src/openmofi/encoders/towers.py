"""Towers of libraries: as an encoder, and to be trained and rebuilt from their description without the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmofi.arrays import Array
from openmofi.encoders.arrays import by_tokens, normalised
from openmofi.encoders.devices import RowLimit
from openmofi.encoders.encoder import BATCH, Encoder
from openmofi.encoders.preprocess import Preprocessing, Tokens
from openmofi.errors import OpenMofiError, UsageError, did_you_mean
from openmofi.extensions import extension, extension_names
from openmofi.storage import fingerprint
from openmofi.storage.foreign import guarded

if TYPE_CHECKING:
    import torch

    from openmofi.encoders.networks import Networks

_IMAGE, _TEXT = "image_towers", "text_towers"
"""Groups of entry points, each a module with the functions of `plugins.encoders.open_clip`, such as `rebuilt`."""


def encoder_of(
    spec: str,
    preprocessing: Preprocessing,
    logit_scale: float | None,
    *,
    image: Callable[[Any], Array],
    dim: int,
    weights: str,
    tokens: Callable[[list[str]], Sequence[Any]] | None = None,
    text: Callable[[list[Any]], Array] | None = None,
    text_dim: int = 0,
    networks: Networks | None = None,
    joint: bool = True,
) -> Encoder:
    """An encoder of a library's towers, whose projection is the L2 normalisation of their output.

    Args:
        spec: how it is opened.
        preprocessing: of images.
        logit_scale: the factor on cosines of its training; `None` where it is unknown.
        image: (n, 3, size, size) → (n, dim), not normalised; n is at most 64.
        dim: of the image tower.
        weights: fingerprint of all that decides the result besides the preprocessing.
        tokens: texts → one token sequence each (whatever `text` takes; only its length is read); `None` where `text`
            takes any number of texts themselves.
        text: token sequences → (n, text_dim), not normalised; `None` without a text side.
        text_dim: of the text tower; 0 stands for `dim`.
        networks: what `image` and `text` run, for export; `None` where they run no network of PyTorch.
        joint: whether both sides end in one space, and images can be compared; a pair of backbones does not.
    """
    features, text_dim = fingerprint([weights, asdict(preprocessing)]), text_dim or dim
    scaled = joint and (text is not None or logit_scale is not None)
    projection = normalised if joint else None
    limit = RowLimit()

    def embed_texts(texts: Sequence[str]) -> Array:
        assert text is not None
        if tokens is None:
            return text(list(texts))
        return by_tokens(texts, tokens, lambda rows: limit.within(text, rows), text_dim, BATCH)

    return Encoder(
        spec,
        fingerprint([features, float(logit_scale or 1.0)]) if scaled else features,
        features,
        dim=dim if joint else 0,
        feature_dim=dim,
        text_feature_dim=0 if text is None else text_dim,
        logit_scale=None if logit_scale is None else float(logit_scale),
        preprocessing=preprocessing,
        image_tower=image,
        text_tower=None if text is None else embed_texts,
        image_projection=projection,
        text_projection=None if text is None else projection,
        networks=networks,
    )


@dataclass(frozen=True)
class Trunk:
    """A network without a head.

    Attributes:
        module: an image tower takes (B, 3, H, W) float32 pixels, a text tower (B, L) int64 tokens; both give
            (B, dim) floating features.
        dim: number of features.
        architecture: JSON values; `rebuilt` makes the same network of them, with other weights.
    """

    module: torch.nn.Module
    dim: int
    architecture: Mapping[str, Any]


def image_preprocessing(spec: str, *, pretrained: str = "", size: int = 0) -> Preprocessing:
    """How images are made for an image tower; see `image_trunk` for the arguments and the errors."""
    return _called(spec, _IMAGE, "preprocessing", pretrained, size)


def image_trunk(spec: str, *, pretrained: str = "", size: int = 0, drop_path: float = 0.0) -> Trunk:
    """An image tower.

    Random weights are drawn from torch's global generator; the caller seeds it.

    Args:
        spec: `timm:NAME`, `open_clip:ARCH`, `hf:PATH-OR-ID` or `backbone:efficientnet-lite0`.
        pretrained: empty for random weights; `default` for timm's own on the hub; a tag of open_clip; or a file
            (.safetensors, or .pt/.pth that holds tensors only). `hf:` and `backbone:` name weights by themselves.
        size: pixels a side; 0 for the model's own.
        drop_path: stochastic depth; timm only.

    Raises:
        UsageError: no such model, or one that cannot be trained here, or an option that it does not take.
        OpenMofiError: the weights are missing, damaged, do not fit, would have to be unpickled, or cannot be fetched.
    """
    if drop_path and not spec.startswith("timm:"):
        raise UsageError(f"drop_path is for timm models; {spec!r} does not take it.", "Set model.image.drop_path: 0.")
    return _called(spec, _IMAGE, "image", pretrained, size, drop_path)


def text_trunk(spec: str, *, pretrained: str = "") -> Trunk:
    """A text tower, `open_clip:ARCH`, `hf:PATH-OR-ID` or `mobile:mct[?width=N…]`; see `image_trunk`."""
    return _called(spec, _TEXT, "text", pretrained)


def text_tokens(spec: str) -> Tokens:
    """The tokenizer of a text tower; it can be pickled."""
    return _called(spec, _TEXT, "tokens")


def rebuilt(architecture: Mapping[str, Any]) -> Trunk:
    """The network that an architecture describes, with random weights; reaches for no network.

    Raises:
        OpenMofiError: the description cannot be parsed, or the installed library has no such model.
    """
    kind, module = architecture.get("kind"), _described(architecture, _IMAGE, _TEXT)
    try:
        with guarded(f"The tower {kind}:{architecture.get('name', '')}"):
            return module.rebuilt(architecture)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, AssertionError) as error:
        raise OpenMofiError(
            f"The tower {kind}:{architecture.get('name', '')} cannot be built: {error}.",
            "Install the versions that it was trained with.",
        ) from error


def stored_tokens(architecture: Mapping[str, Any], folder: Path) -> Tokens:
    """The tokenizer of an architecture, whose files, where it has any, are in `folder`."""
    module = _described(architecture, _TEXT)
    with guarded(f"The tokenizer in {folder}"):
        return module.stored_tokens(architecture, folder)


def options_of(spec: str, rest: str, names: Sequence[str], hint: str) -> tuple[str, dict[str, int]]:
    """`PLACE?NAME=N&NAME=N` → the location and the options, whole numbers.

    Raises:
        UsageError: an option that is not among `names`, or no number; says `hint`.
    """
    location, mark, text = rest.partition("?")
    pairs = [part.partition("=") for part in text.split("&")] if mark else []
    wrong = next((f"{key}={value}" for key, _, value in pairs if key not in names or not value.isdecimal()), None)
    if wrong is not None:
        raise UsageError(f"The option {wrong!r} of {spec!r} is unknown.", hint)
    return location, {key: int(value) for key, _, value in pairs}


def _described(architecture: Mapping[str, Any], *groups: str) -> Any:
    """The module of the kind of tower that an architecture names."""
    kind = architecture.get("kind")
    for group in groups:
        if (module := extension(group, str(kind))) is not None:
            return module
    raise OpenMofiError(f"Unknown kind of tower {kind!r}.", "Use the version of OpenMOFI that wrote it.")


def _called(spec: str, group: str, function: str, *arguments: Any) -> Any:
    """Call a function of the module of a spec's kind."""
    kind, _, rest = spec.partition(":")
    module = extension(group, kind) if rest else None
    if module is None:
        kinds = extension_names(group)
        raise UsageError(
            f"Unknown tower {spec!r}.{did_you_mean(kind, kinds)}",
            f"Towers are: {', '.join(f'{kind}:…' for kind in kinds)}; encoder:SPEC is locked.",
        )
    with guarded(f"The tower {spec!r}", spec):
        return getattr(module, function)(rest, *arguments)

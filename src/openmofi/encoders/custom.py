"""A user's own encoder: any object that embeds images and texts, or a pair of functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np
from PIL import Image

from openmofi.encoders.arrays import by_tokens, normalised
from openmofi.encoders.encoder import Encoder
from openmofi.encoders.protocol import Array, Preprocessing
from openmofi.encoders.registry import open_encoder
from openmofi.errors import OpenMofiError, UsageError
from openmofi.storage import fingerprint

_BATCH = 64
_SIZE = 224
_TEXTS = ("a photo of a crane", "two", "a red apple on a table")
# What a user's encoder does to images is its own; JPEG files are decoded at twice this size or more.
_PREPROCESSING = Preprocessing(_SIZE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class CustomEncoder(Protocol):
    """What a user's encoder has. Optional attributes: `logit_scale` (float), `fingerprint` (str)."""

    def embed_images(self, images: list[Image.Image]) -> Any:
        """RGB images → (n, dim) numbers, normalised or not."""

    def embed_texts(self, texts: list[str]) -> Any:
        """Texts → (n, dim) numbers, normalised or not."""


EncoderLike: TypeAlias = str | Encoder | CustomEncoder | tuple[Callable[..., Any], Callable[..., Any]]


def as_encoder(value: EncoderLike) -> Encoder:
    """An encoder of whatever stands for one.

    Args:
        value: a spec (see `open_encoder`); an `Encoder`, which is returned as it is; an object with
            `embed_images(list of RGB PIL images)` and `embed_texts(list of str)`, each → (n, dim) arrays; or a pair of
            such functions. Images of more than 4 megapixels come made smaller by a whole factor. An object's
            attribute `logit_scale` is the factor on cosines of its training, and `fingerprint`
            identifies its weights; without it, a hash of what it gives for fixed inputs does.

    Raises:
        UsageError: it is none of these, or what it gives has not the shape (n, dim).
        OpenMofiError: see `open_encoder`.
    """
    if isinstance(value, Encoder):
        return value
    if isinstance(value, str):
        return open_encoder(value)
    images: Any
    texts: Any
    if isinstance(value, tuple) and len(value) == 2 and all(map(callable, value)):
        images, texts = value
        name = f"custom:{_name(images)}+{_name(texts)}"
    else:
        images, texts = (getattr(value, method, None) for method in ("embed_images", "embed_texts"))
        name = f"custom:{type(value).__name__}"
    if not callable(images) or not callable(texts):
        raise UsageError(
            f"A {type(value).__name__} is not an encoder.",
            "Give a spec such as hf:FOLDER, an object with embed_images and embed_texts, or a pair of "
            "functions (images, texts).",
        )
    probes = [_checked(name, images, [_probe(seed) for seed in range(2)]), _checked(name, texts, list(_TEXTS))]
    if probes[0].shape[1] != probes[1].shape[1]:
        raise UsageError(
            f"The encoder {name} gives {probes[0].shape[1]} numbers an image and {probes[1].shape[1]} a text.",
            "Both sides must end in one space.",
        )
    scale = getattr(value, "logit_scale", None)
    scale = None if scale is None else float(scale)
    identity = getattr(value, "fingerprint", None) or fingerprint([np.round(probe, 4).tolist() for probe in probes])
    dim = probes[0].shape[1]
    return Encoder(
        name,
        fingerprint([str(identity), scale]),
        fingerprint(str(identity)),
        dim,
        dim,
        dim,
        scale,
        _PREPROCESSING,
        image_tower=partial(_checked, name, images),
        text_tower=lambda given: by_tokens(given, list, partial(_checked, name, texts), dim, _BATCH),
        image_projection=normalised,
        text_projection=normalised,
        takes_images=True,
        reopen=partial(as_encoder, value),
    )


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _probe(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (_SIZE, _SIZE, 3)).astype(np.uint8))


def _checked(name: str, embed: Callable[[list[Any]], Any], items: list[Any]) -> Array:
    """What a user's function gives, float32 (n, dim); tensors of PyTorch on any device are taken too."""
    given = embed(items)
    rows = np.asarray(given.detach().float().cpu() if hasattr(given, "detach") else given, np.float32)
    if rows.ndim != 2 or len(rows) != len(items):
        raise UsageError(
            f"The encoder {name} gives an array of shape {rows.shape} for {len(items)} inputs.",
            "Return one row of numbers an image or text, (n, dim).",
        )
    if not np.isfinite(rows).all():
        raise OpenMofiError(f"The encoder {name} gives values that are not finite.")
    return rows

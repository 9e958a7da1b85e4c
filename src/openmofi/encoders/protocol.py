"""Values that every encoder shares: arrays, preprocessing, and what a library's model gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from openmofi.encoders.networks import Networks

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input; travels with the encoder.

    Attributes:
        size: height and width in pixels.
        mean, std: per RGB channel, of values in 0..1.
        interpolation: `bilinear` or `bicubic`.
        resize: `shortest` (shorter side to `size`, then centre crop) or `squash` (both sides to `size`).
        antialias: whether the resampling filter is widened when shrinking.
        resize_size: what the image is resized to before the crop; 0 stands for `size`.
        crop_rounding: of a crop that cannot lie in the very middle: `even` (torchvision, open_clip: to the even
            pixel) or `floor` (transformers).
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize: str = "shortest"
    antialias: bool = True
    resize_size: int = 0
    crop_rounding: str = "even"

    @property
    def decode_size(self) -> int | None:
        """The `size_hint` for `openmofi.pairs.decode`; `None` where a JPEG must be decoded at its full size.

        Scaled decoding averages pixels, which an antialiased resize does too; without antialias the input would be
        another than the network was trained on.
        """
        return self.size if self.antialias else None


@dataclass(frozen=True)
class Towers:
    """What a library's model gives.

    Attributes:
        image: (n, 3, size, size) → (n, dim), not normalised; n is at most 64.
        tokens: texts → one token sequence each (whatever `text` takes; only its length is read); `None` where `text`
            takes any number of texts themselves.
        text: token sequences → (n, text_dim), not normalised; `None` without a text side.
        dim: of the image tower.
        weights: fingerprint of all that decides the result besides the preprocessing.
        networks: what `image` and `text` run, for export; `None` where they run no network of PyTorch.
        text_dim: of the text tower; 0 stands for `dim`.
        joint: whether both sides end in one space, and images can be compared; a pair of backbones does not.
    """

    image: Callable[[Any], Array]
    tokens: Callable[[list[str]], Sequence[Any]] | None
    text: Callable[[list[Any]], Array] | None
    dim: int
    weights: str
    networks: Networks | None = None
    text_dim: int = 0
    joint: bool = True

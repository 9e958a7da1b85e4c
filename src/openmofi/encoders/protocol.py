"""Values that every encoder shares: arrays and preprocessing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

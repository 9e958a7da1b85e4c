"""What every encoder shares: arrays, preprocessing, and what makes token ids of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


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


class Tokens(Protocol):
    """Texts → token ids; can be pickled."""

    def __call__(self, texts: Sequence[str]) -> Any:
        """Texts → (n, L) int64, L the same whatever the texts; of `WordPieceTokens` a list a text."""

    def save(self, folder: Path) -> None:
        """Write its files, if it has any, so that it can be opened without the network."""

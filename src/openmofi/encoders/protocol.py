"""What an encoder is: a frozen backbone, whose features are kept, and a light projection to the joint space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

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


class Encoder(Protocol):
    """Embeds images and texts into one space.

    Attributes:
        spec: what it was opened by.
        fingerprint: names weights, preprocessing and projection; equal fingerprints give equal embeddings.
        feature_fingerprint: the same without the projection: names what `image_features` and `text_features` give.
        dim: dimension of the joint space.
        feature_dim: dimension of `image_features`.
        text_feature_dim: dimension of `text_features`.
        logit_scale: the factor that its training put on cosines; 1.0 where it is unknown.
        preprocessing: see `Preprocessing`.
    """

    spec: str
    fingerprint: str
    feature_fingerprint: str
    dim: int
    feature_dim: int
    text_feature_dim: int
    logit_scale: float
    preprocessing: Preprocessing

    def preprocess(self, image: Image) -> Array:
        """An RGB image → float32 (3, size, size), normalised. Thread-safe."""

    def image_features(self, pixels: Array) -> Array:
        """(n, 3, size, size) → backbone features, float32 (n, feature_dim), not normalised."""

    def project_images(self, features: Array) -> Array:
        """(n, feature_dim) → joint space, float32 (n, dim), L2-normalised."""

    def text_features(self, texts: Sequence[str]) -> Array:
        """Texts → backbone features, float32 (n, text_feature_dim), in the order of `texts`."""

    def project_texts(self, features: Array) -> Array:
        """(n, text_feature_dim) → joint space, float32 (n, dim), L2-normalised."""

    def embed_texts(self, texts: Sequence[str]) -> Array:
        """`project_texts(text_features(texts))`."""

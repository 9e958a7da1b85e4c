"""An encoder of images alone: DINOv2 and its kin, ImageNet's classifiers without their last layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from PIL.Image import Image

from openmofi.encoders.arrays import gathered, in_batches, normalised
from openmofi.encoders.preprocess import preprocess
from openmofi.encoders.protocol import Array, Preprocessing
from openmofi.errors import OpenMofiError
from openmofi.storage import fingerprint

if TYPE_CHECKING:
    from openmofi.encoders.networks import Networks

_IMAGE_BATCH = 64


class ImageEncoder:
    """See `Encoder`. Images are projected by normalisation alone; all that has to do with texts is an error.

    Args:
        spec: what it is opened by.
        image: (n, 3, size, size) → (n, dim), not normalised.
        dim: of its output.
        weights: fingerprint of all that decides the result besides the preprocessing.
        preprocessing: see `Preprocessing`.
        networks: see `joint.Towers`.
    """

    logit_scale, logit_scale_known = 1.0, False
    text_feature_dim = 0

    def __init__(self, spec: str, image: Callable[[Array], Array], dim: int, weights: str,
                 preprocessing: Preprocessing, networks: Networks | None = None) -> None:
        self.spec, self.preprocessing = spec, preprocessing
        self.dim = self.feature_dim = dim
        self.feature_fingerprint = fingerprint([weights, asdict(preprocessing)])
        self.fingerprint = self.feature_fingerprint
        self.networks, self._image = networks, image

    def preprocess(self, image: Image) -> Array:
        """See `Encoder`."""
        return preprocess(image, self.preprocessing)

    def image_features(self, pixels: Array) -> Array:
        """See `Encoder`."""
        return gathered(map(self._image, in_batches(pixels, _IMAGE_BATCH)), self.dim)

    def project_images(self, features: Array) -> Array:
        """See `Encoder`."""
        return normalised(features)

    def text_features(self, texts: Sequence[str]) -> Array:
        """Always an error."""
        raise self._no_texts()

    def project_texts(self, features: Array) -> Array:
        """Always an error."""
        raise self._no_texts()

    def embed_texts(self, texts: Sequence[str]) -> Array:
        """Always an error."""
        raise self._no_texts()

    def _no_texts(self) -> OpenMofiError:
        return OpenMofiError(f"The encoder {self.spec!r} embeds images only.",
                             "Choose an image–text encoder, such as hf:FOLDER of a CLIP or SigLIP.")

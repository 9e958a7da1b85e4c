"""An encoder that has features only: two frozen networks before heads to a joint space are trained on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from PIL.Image import Image

from openmofi.encoders.preprocess import preprocess
from openmofi.encoders.protocol import Array, Preprocessing
from openmofi.errors import OpenMofiError

if TYPE_CHECKING:
    from openmofi.encoders.networks import Networks


class FeaturesOnly:
    """See `Encoder`; all that has to do with the joint space is an error, and `dim` is 0.

    Args:
        spec: what it is opened by.
        image: (n, 3, size, size) → features of images, float32 (n, dims[0]).
        text: texts → features, float32 (n, dims[1]).
        dims: of both.
        fingerprint: of all that decides the features, preprocessing included.
        preprocessing: see `Preprocessing`.
        networks: see `joint.Towers`.
    """

    dim = 0
    logit_scale, logit_scale_known = 1.0, False

    def __init__(self, spec: str, image: Callable[[Array], Array], text: Callable[[Sequence[str]], Array],
                 dims: tuple[int, int], fingerprint: str, preprocessing: Preprocessing,
                 networks: Networks | None = None) -> None:
        self.spec, self.preprocessing, self.networks = spec, preprocessing, networks
        self.feature_dim, self.text_feature_dim = dims
        self.feature_fingerprint = self.fingerprint = fingerprint
        self._image, self._text = image, text

    def preprocess(self, image: Image) -> Array:
        """See `Encoder`."""
        return preprocess(image, self.preprocessing)

    def image_features(self, pixels: Array) -> Array:
        """See `Encoder`."""
        return self._image(pixels)

    def text_features(self, texts: Sequence[str]) -> Array:
        """See `Encoder`."""
        return self._text(texts)

    def project_images(self, features: Array) -> Array:
        """Always an error."""
        raise self._no_space()

    def project_texts(self, features: Array) -> Array:
        """Always an error."""
        raise self._no_space()

    def embed_texts(self, texts: Sequence[str]) -> Array:
        """Always an error."""
        raise self._no_space()

    def _no_space(self) -> OpenMofiError:
        return OpenMofiError(f"The encoder {self.spec!r} is a pair of backbones without projection heads.",
                             "Train heads first (`openmofi sample encoder`), or choose another encoder.")

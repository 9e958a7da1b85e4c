"""An encoder whose two towers already end in one space: CLIP, SigLIP and their kin, from whatever library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from PIL.Image import Image

from openmofi.encoders.arrays import by_tokens, gathered, in_batches, normalised
from openmofi.encoders.preprocess import preprocess
from openmofi.encoders.protocol import Array, Preprocessing
from openmofi.storage import fingerprint

if TYPE_CHECKING:
    from openmofi.encoders.networks import Networks

_IMAGE_BATCH = 64
_TEXT_BATCH = 64


@dataclass(frozen=True)
class Towers:
    """What a library's model must give.

    Attributes:
        image: (n, 3, size, size) → (n, dim), not normalised.
        tokens: texts → one token sequence each (whatever `text` takes; only its length is looked at).
        text: token sequences → (n, dim), not normalised.
        dim: of both.
        weights: fingerprint of all that decides the result besides the preprocessing.
        networks: what `image` and `text` run, for export; `None` where they run no network of PyTorch.
    """

    image: Callable[[Array], Array]
    tokens: Callable[[list[str]], Sequence[Any]]
    text: Callable[[list[Any]], Array]
    dim: int
    weights: str
    networks: Networks | None = None


class JointEncoder:
    """See `Encoder`. Features are the towers' output, so the projection is the normalisation alone.

    Args:
        spec: what it is opened by.
        towers: see there.
        preprocessing: see `Preprocessing`.
        logit_scale: the factor on cosines of its training; `None` where it is unknown.
        source_fingerprint: of the encoder that it was exported from, whose calibration holds for it; else empty.
    """

    def __init__(self, spec: str, towers: Towers, preprocessing: Preprocessing, logit_scale: float | None, *,
                 source_fingerprint: str = "") -> None:
        self.spec, self.preprocessing, self.source_fingerprint = spec, preprocessing, source_fingerprint
        self.logit_scale, self.logit_scale_known = float(logit_scale or 1.0), logit_scale is not None
        self.dim = self.feature_dim = self.text_feature_dim = towers.dim
        self.feature_fingerprint = fingerprint([towers.weights, asdict(preprocessing)])
        self.fingerprint = fingerprint([self.feature_fingerprint, self.logit_scale])
        self.networks, self._towers = towers.networks, towers

    def preprocess(self, image: Image) -> Array:
        """See `Encoder`."""
        return preprocess(image, self.preprocessing)

    def image_features(self, pixels: Array) -> Array:
        """See `Encoder`."""
        return gathered(map(self._towers.image, in_batches(pixels, _IMAGE_BATCH)), self.dim)

    def text_features(self, texts: Sequence[str]) -> Array:
        """See `Encoder`. Each distinct text is encoded once."""
        return by_tokens(texts, self._towers.tokens, self._towers.text, self.dim, _TEXT_BATCH)

    def project_images(self, features: Array) -> Array:
        """See `Encoder`."""
        return normalised(features)

    def project_texts(self, features: Array) -> Array:
        """See `Encoder`."""
        return normalised(features)

    def embed_texts(self, texts: Sequence[str]) -> Array:
        """See `Encoder`."""
        return self.project_texts(self.text_features(texts))

"""Image bytes → training pictures: decode no more than is needed, crop, augment, normalise once a batch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from openmofi.encoders import Preprocessing, preprocess
from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs import ImageRefused, decode_image
from openmofi.pairs.decode import MAX_PIXELS
from openmofi.reinforcement import Augmentation, augmented
from openmofi.training.settings import Augment

_ORIENTATION = 0x0112
_EXIF_WITHIN = 1 << 16
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_PLAIN = ("YCbCr", "Gray", "RGB")


@dataclass
class Pictures:
    """Makes training pictures; picklable.

    With a `scale` of (1, 1) a picture is cut as at evaluation (`encoders.preprocess`, the same numbers); otherwise by
    RandomResizedCrop, whose crop is cut out of a JPEG decoded at the smallest size (a multiple of an eighth, libjpeg's
    scaled DCT) at which the crop has at least as many pixels as the result. The random numbers of a picture are
    torch's, seeded by one number, so that they do not depend on the process that makes it.

    Attributes:
        preprocessing: size, mean, deviation and filter.
        augment: what is done to it.
    """

    preprocessing: Preprocessing
    augment: Augment

    def batch(self, images: Sequence[bytes], seeds: Sequence[int], names: Sequence[str],
              replayed: Sequence[Augmentation | None] | None = None) -> Tensor:
        """Encoded images → (n, 3, size, size) float32, normalised.

        Args:
            images: n encoded images.
            seeds: of what is drawn for each.
            names: for the error.
            replayed: augmentations that are replayed; `None` for an image whose own is drawn.

        Raises:
            OpenMofiError: an image cannot be decoded.
        """
        made = []
        with torch.random.fork_rng(devices=[]):
            for data, seed, name, known in zip(images, seeds, names, replayed or [None] * len(images), strict=True):
                torch.default_generator.manual_seed(int(seed))
                try:
                    made.append(self._replayed(data, known) if known else self.picture(data))
                except ImageRefused as refused:
                    raise OpenMofiError(f"The image {name} cannot be decoded: {refused.why}.",
                                        "It could be when it was labelled: put the old shard back, or label it and "
                                        "build the dataset again.") from refused
        if len({one.dtype for one in made}) > 1:
            made = [one.float().div(255) if one.dtype == torch.uint8 else one for one in made]
        return self._normalised(torch.stack(made))

    def _replayed(self, data: bytes, known: Augmentation) -> Tensor:
        pixels = augmented(data, known, self.preprocessing.size, self.preprocessing.interpolation)
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def picture(self, data: bytes) -> Tensor:
        """One picture, (3, size, size), uint8 or float32 in 0..1, by torch's present random state."""
        plain = self.augment.scale == (1.0, 1.0)
        picture = self._evaluation(data) if plain else self._random_crop(data)
        return self._transforms(picture) if self._transforms else picture

    def _evaluation(self, data: bytes) -> Tensor:
        image = decode_image(data, size_hint=self.preprocessing.size)
        # Not normalised yet: colours are changed in 0..1.
        plain = replace(self.preprocessing, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        return torch.from_numpy(np.ascontiguousarray(preprocess(image, plain)))

    def _random_crop(self, data: bytes) -> Tensor:
        size = self.preprocessing.size
        height, width, jpeg = plain_jpeg(data)
        image = None if jpeg else decode_image(data)
        if image is not None:
            width, height = image.size
        box = self._crop.make_params([torch.empty(1).expand(3, height, width)])
        if image is None:
            # Drawn on the full size, so that the crop does not depend on the scale at which it is decoded.
            image = _decoded_jpeg(data, min(1.0, max(size / box["height"], size / box["width"])), height, width)
        across, down = image.width / width, image.height / height
        place = (box["left"] * across, box["top"] * down, (box["left"] + box["width"]) * across,
                 (box["top"] + box["height"]) * down)
        resized = image.resize((size, size), _FILTERS[self.preprocessing.interpolation], box=place)
        return torch.from_numpy(np.array(resized)).permute(2, 0, 1)

    @cached_property
    def _crop(self) -> Any:
        return v2.RandomResizedCrop(self.preprocessing.size, scale=self.augment.scale, ratio=self.augment.ratio)

    @cached_property
    def _transforms(self) -> Any:
        chosen = transforms_of(self.augment)
        return v2.Compose(chosen) if chosen else None

    def _normalised(self, stacked: Tensor) -> Tensor:
        # The same float32 steps as at evaluation, into memory in the order of the contract.
        pixels = torch.empty(stacked.shape, dtype=torch.float32).copy_(stacked)
        if stacked.dtype == torch.uint8:
            pixels.div_(255)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.preprocessing.mean, self.preprocessing.std))
        return pixels.sub_(mean).div_(std)


def transforms_of(augment: Augment) -> list[Any]:
    """What follows the crop, of torchvision v2; only what is on."""
    jitter, found = augment.color_jitter, []
    if augment.flip:
        found.append(v2.RandomHorizontalFlip(augment.flip))
    if jitter:
        found.append(v2.ColorJitter(jitter, jitter, jitter))
    if augment.grayscale:
        found.append(v2.RandomGrayscale(augment.grayscale))
    if augment.rand_augment:
        found.append(v2.RandAugment(augment.rand_augment, augment.rand_augment_magnitude))
    return found


def check_augment(augment: Augment) -> None:
    """Refuse what cannot be done.

    Raises:
        UsageError: a value out of its range.
    """
    for name in ("scale", "ratio"):
        low, high = getattr(augment, name)
        if not 0 < low <= high or (name == "scale" and high > 1):
            raise UsageError(f"data.augment.{name} is [{low}, {high}].", "Give the least, then the greatest, above 0" +
                             (" and at most 1." if name == "scale" else "."))
    for name in ("flip", "grayscale"):
        if not 0 <= getattr(augment, name) <= 1:
            raise UsageError(f"data.augment.{name} is {getattr(augment, name)}; it must lie between 0 and 1.")
    if augment.color_jitter < 0 or augment.rand_augment < 0 or not 0 <= augment.rand_augment_magnitude <= 30:
        raise UsageError("data.augment.color_jitter and rand_augment must not be negative, and "
                         "rand_augment_magnitude must lie between 0 and 30.")


def plain_jpeg(data: bytes) -> tuple[int, int, bool]:
    """Height, width, and whether this is a JPEG that libjpeg-turbo may decode by itself.

    It may not where `pairs.decode` does more than decode: other colours than grey and RGB, a picture that lies on its
    side, too many pixels, damage. Height and width are 0 then.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return 0, 0, False
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return 0, 0, False
    plain = colours in _PLAIN and height * width <= MAX_PIXELS and _upright(data)
    return (height, width, True) if plain else (0, 0, False)


def _upright(data: bytes) -> bool:
    if b"Exif\0\0" not in data[:_EXIF_WITHIN]:
        return True
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return image.getexif().get(_ORIENTATION, 1) == 1
    except Exception:
        # Damaged metadata: whatever `pairs.decode` makes of it.
        return False


def _decoded_jpeg(data: bytes, share: float, height: int, width: int) -> Image.Image:
    """Decode at `share` of the size or the next larger scale that libjpeg has."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, min_height=int(np.ceil(height * share)), min_width=int(np.ceil(width * share)))
    except ValueError:
        # Damage that only shows on the way: Pillow may be more lenient, and says what is wrong if it is not.
        return decode_image(data)
    return Image.fromarray(pixels)

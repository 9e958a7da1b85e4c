"""Image bytes → training images: decode at the size that is needed, crop, augment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from openmofi.encoders import Preprocessing, preprocess
from openmofi.encoders.preprocess import as_bytes
from openmofi.pairs import ImageRefused, decode_image
from openmofi.pairs.images.scaled import Box, ScaledImage
from openmofi.training.model.towers import normalised
from openmofi.training.recipe import Augment

_LEAST_SHARE = 0.25
"""Of a dataset's images; where fewer could be kept, an epoch would hardly meet them again."""
_BYTES_A_PIXEL = 4


@dataclass
class KeptImages:
    """Images as they were decoded before; picklable, and each process begins with none.

    The first ones stay: a dataset that is gone through in epochs would push each image out before it comes again.

    Attributes:
        limit: bytes that the kept images may take, encoded and decoded; 0 keeps none.
    """

    limit: int = 0
    _kept: dict[bytes, tuple[ScaledImage, int]] = field(default_factory=dict, repr=False)
    _held: int = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit, "_kept": {}, "_held": 0}

    @classmethod
    def of_dataset(cls, rows: int, side: int, limit: int) -> KeptImages:
        """Keep images where `limit` bytes suffice for a good part of a dataset.

        Args:
            rows: images of the dataset.
            side: of training images, in pixels: an image is decoded at about twice this side or less.
            limit: bytes.
        """
        needed = rows * (2 * side) ** 2 * _BYTES_A_PIXEL
        return cls(limit if limit >= _LEAST_SHARE * needed else 0)

    def opened(self, data: bytes) -> ScaledImage:
        """Return the image of these bytes.

        Raises:
            ImageRefused, MemoryError: see `ScaledImage.of`.
        """
        entry = self._kept.get(data) if self.limit else None
        return entry[0] if entry else ScaledImage.of(data)

    def keep(self, image: ScaledImage) -> None:
        """Keep an image as far as it is decoded by now, if there is room."""
        if not self.limit:
            return
        _, counted = self._kept.get(image.data, (image, 0))
        held = self._held - counted + image.memory
        if held <= self.limit:
            self._kept[image.data], self._held = (image, image.memory), held
        elif counted:
            # It was decoded at another scale, too.
            del self._kept[image.data]
            self._held -= counted


class UndecodableError(Exception):
    """Images of a batch that cannot be decoded.

    Attributes:
        why: position in the batch → what is wrong with it.
    """

    def __init__(self, why: dict[int, str]) -> None:
        super().__init__(why)
        self.why = why


class StoredAugmentation(Protocol):
    """An augmentation that was drawn before."""

    def replayed(self, image: ScaledImage, size: int, interpolation: str) -> Image.Image:
        """The augmented image, of `size` pixels a side.

        Raises:
            ImageRefused: the image cannot be decoded.
        """


_TRIES = 10  # as torchvision
NO_AUGMENTATION = Augment(scale=(1.0, 1.0), flip=0.0)


@dataclass
class TrainingImages:
    """Turns encoded images into training images; picklable.

    With a `scale` of (1, 1) an image is cut as at evaluation (`encoders.preprocess`, the same numbers); otherwise by
    RandomResizedCrop, whose crop is cut out of a JPEG decoded at the smallest size (a multiple of an eighth, libjpeg's
    scaled DCT) at which the crop has at least as many pixels as the result. The random numbers of an image are
    torch's, seeded by one number, so that they do not depend on the process.

    Attributes:
        preprocessing: size, mean, deviation and filter.
        augment: the augmentations.
        kept: images that need not be decoded again.
        first_sizes: other sizes, with which a run begins, and for which share of its steps; see `at`.
    """

    preprocessing: Preprocessing
    augment: Augment
    kept: KeptImages = field(default_factory=KeptImages)
    first_sizes: tuple[tuple[int, ...], float] = ((), 0.0)

    def at(self, step: int, steps: int) -> TrainingImages:
        """These images as they are in a step of a run of so many: of the first sizes in turn, then of their own."""
        (sizes, share), settings = self.first_sizes, self.preprocessing
        if not sizes or step >= (count := min(round(share * steps), steps - 1)):
            return self
        size = sizes[step * len(sizes) // count]
        resized = round(settings.resize_size * size / settings.size)
        return replace(self, preprocessing=replace(settings, size=size, resize_size=resized))

    def batch(
        self, images: Sequence[bytes], seeds: Sequence[int], stored: Sequence[StoredAugmentation | None] = ()
    ) -> Tensor:
        """Encoded images → (n, 3, size, size): uint8, or float32 and normalised where colours are changed in 0..1, or
        images are resized without antialias.

        Which of the two depends on the settings alone. `model.towers.normalised` does the rest where a batch is used:
        bytes are a quarter of what workers hand over and a device is sent.

        Args:
            images: n encoded images.
            seeds: of the random numbers of each.
            stored: augmentations that are replayed; `None` for an image whose own is drawn.

        Raises:
            UndecodableError: some images cannot be decoded.
        """
        tensors: list[Tensor] = []
        refused: dict[int, str] = {}
        with torch.random.fork_rng(devices=[]):
            for position, (data, seed, augmentation) in enumerate(
                zip(images, seeds, stored or [None] * len(images), strict=True)
            ):
                torch.default_generator.manual_seed(int(seed))
                try:
                    tensors.append(self._replayed(data, augmentation) if augmentation else self.image(data))
                except ImageRefused as error:
                    refused[position] = str(error.why)
        if refused:
            raise UndecodableError(refused)
        if not self._in_floats:
            return torch.stack(tensors)
        return torch.stack([normalised(tensor, self.preprocessing) for tensor in tensors])

    def _replayed(self, data: bytes, augmentation: StoredAugmentation) -> Tensor:
        image = self.kept.opened(data)
        return self._pixels_of(
            image, augmentation.replayed(image, self.preprocessing.size, self.preprocessing.interpolation)
        )

    def image(self, data: bytes) -> Tensor:
        """An image (3, size, size), uint8 or float32 in 0..1, by torch's random state."""
        plain = self.augment.scale == (1.0, 1.0)
        image = self._evaluation(data) if plain else self._random_crop(data)
        return self._transforms(image) if self._transforms else image

    def _evaluation(self, data: bytes) -> Tensor:
        image = decode_image(data, size_hint=self.preprocessing.decode_size)
        if not self._in_floats:
            return torch.from_numpy(as_bytes(image, self.preprocessing))
        # Not normalised yet: colours are changed in 0..1.
        plain = replace(self.preprocessing, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        return torch.from_numpy(np.ascontiguousarray(preprocess(image, plain)))

    def _random_crop(self, data: bytes) -> Tensor:
        image = self.kept.opened(data)
        # Drawn on the full size, so that the crop does not depend on the scale at which it is decoded.
        box = random_crop(image.height, image.width, self.augment.scale, self.augment.ratio)
        return self._pixels_of(image, image.cut(box, self.preprocessing.size, self.preprocessing.interpolation))

    def _pixels_of(self, image: ScaledImage, cut: Image.Image) -> Tensor:
        self.kept.keep(image)
        return torch.from_numpy(np.array(cut)).permute(2, 0, 1)

    @cached_property
    def _transforms(self) -> Any:
        chosen = transforms_of(self.augment)
        return v2.Compose(chosen) if chosen else None

    @property
    def _in_floats(self) -> bool:
        """Whether images are cut as at evaluation, and bytes would lose something."""
        coloured = self.augment.color_jitter or self.augment.grayscale or self.augment.rand_augment
        return self.augment.scale == (1.0, 1.0) and bool(coloured or not self.preprocessing.antialias)


def random_crop(height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]) -> Box:
    """The box that torchvision's RandomResizedCrop draws from torch's random numbers, in half of its time.

    Args:
        height, width: of the image, in pixels.
        scale, ratio: see `AugmentSettings`.

    Returns:
        Left, top, width and height.
    """
    low, high = _log(ratio)
    for _ in range(_TRIES):
        area = height * width * torch.empty(1).uniform_(*scale).item()
        aspect = torch.empty(1).uniform_(low, high).exp_().item()
        across, down = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < across <= width and 0 < down <= height:
            top = int(torch.randint(0, height - down + 1, (1,)))
            return int(torch.randint(0, width - across + 1, (1,))), top, across, down
    across, down = width, height
    if width / height < min(ratio):
        down = round(width / min(ratio))
    elif width / height > max(ratio):
        across = round(height * max(ratio))
    return (width - across) // 2, (height - down) // 2, across, down


@cache
def _log(ratio: tuple[float, float]) -> tuple[float, float]:
    low, high = torch.log(torch.tensor(ratio)).tolist()
    return low, high


def transforms_of(augment: Augment) -> list[Any]:
    """Return the transforms of torchvision v2 that follow the crop; only those that are on."""
    jitter, transforms = augment.color_jitter, []
    if augment.flip:
        transforms.append(v2.RandomHorizontalFlip(augment.flip))
    if jitter:
        transforms.append(v2.ColorJitter(jitter, jitter, jitter))
    if augment.grayscale:
        transforms.append(v2.RandomGrayscale(augment.grayscale))
    if augment.rand_augment:
        transforms.append(v2.RandAugment(augment.rand_augment, augment.rand_augment_magnitude))
    return transforms

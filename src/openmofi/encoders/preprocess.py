"""How an image becomes a network's input: `Preprocessing`, and images in any form."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from openmofi.arrays import Array
from openmofi.errors import OpenMofiError
from openmofi.pairs import MAX_PIXELS, ImageRefused, decode_image, upright
from openmofi.storage import as_type


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


ImageInput: TypeAlias = str | Path | bytes | Image.Image | NDArray[np.uint8]

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_MOST_PIXELS = 1 << 22
# Longer sides than this after resizing (a 1 × 100,000 strip) are cropped before resizing, to bound the memory.
_MAX_STRETCH = 16


def several(images: ImageInput | Iterable[ImageInput]) -> Iterable[ImageInput]:
    """Images, or one image, as an iterable of images."""
    one = isinstance(images, str | Path | bytes | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4)
    return [cast(ImageInput, images)] if one else cast(Iterable[ImageInput], images)


def as_image(
    image: ImageInput, preprocessing: Preprocessing, name: str = "The image", *, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """An image as RGB, upright; equal for a path, its bytes and Pillow's opened file (see `openmofi.pairs.decode`).

    Args:
        image: see `Encoder.embed_images`.
        preprocessing: a JPEG may be decoded at reduced size where it antialiases.
        name: for errors, where it is not a path.
        max_pixels: larger files are refused.

    Raises:
        OpenMofiError: it cannot be read, or is of another type.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise OpenMofiError(
                f"{name} is an array of {image.dtype} {image.shape}.", "Give uint8 arrays (height, width, 3)."
            )
        return Image.fromarray(image)
    if not isinstance(image, str | Path | bytes | Image.Image):
        raise OpenMofiError(
            f"{name} is a {type(image).__name__}.", "Give paths, bytes, PIL images or uint8 arrays (height, width, 3)."
        )
    try:
        if isinstance(image, Image.Image):
            return upright(image)
        name = name if isinstance(image, bytes) else str(image)
        data = image if isinstance(image, bytes) else Path(image).read_bytes()
        return decode_image(data, max_pixels=max_pixels, size_hint=preprocessing.decode_size)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OpenMofiError(f"{name} cannot be read: {reason}.", "Check the path.") from error
    except ImageRefused as error:
        raise OpenMofiError(f"{name} is not a usable image: {error.why}.") from error


def bounded(image: Image.Image) -> Image.Image:
    """An image of at most 4 megapixels, made smaller by a whole factor where it has more.

    A user's own encoder resizes images itself, and a batch of them is held until it does.
    """
    factor = math.ceil(math.sqrt(image.width * image.height / _MOST_PIXELS))
    return image.reduce(factor) if factor > 1 else image


def preprocess(image: Image.Image, settings: Preprocessing) -> Array:
    """An image → float32 (3, size, size), normalised with the mean and deviation of `settings`.

    With antialias the image is resized by Pillow, as open_clip and torchvision do with images; without it by
    PyTorch on the 0..1 tensor, as MOFI's checkpoints expect (`huggingface_preprocessing`).
    """
    if not settings.antialias:
        return _preprocess_tensor(_readied(image, settings), settings)
    pixels = _resized(image, settings)
    table = byte_values(settings.mean, settings.std)
    normalised = np.empty((3, *pixels.shape[:2]), np.float32)
    for channel in range(3):
        # A byte is never beyond the table; asked to clip, numpy does not check.
        np.take(table[channel], pixels[..., channel], out=normalised[channel], mode="clip")
    return normalised


def as_bytes(image: Image.Image, settings: Preprocessing) -> NDArray[np.uint8]:
    """An image → uint8 (3, size, size): `preprocess` but for the normalisation, see `devices.normalised_on`.

    `settings` antialias.
    """
    return np.ascontiguousarray(_resized(image, settings).transpose(2, 0, 1))


def _resized(image: Image.Image, settings: Preprocessing) -> NDArray[np.uint8]:
    """(height, width, 3), by Pillow."""
    rgb = _readied(image, settings)
    pixels = np.asarray(rgb.resize(_target(rgb.size, settings), _FILTERS[settings.interpolation]))
    return _centre(pixels, settings) if settings.resize == "shortest" else pixels


def _readied(image: Image.Image, settings: Preprocessing) -> Image.Image:
    """The image as RGB; the ends of an extremely long one, which the centre crop removes anyway, are cut off."""
    image = image if image.mode == "RGB" else image.convert("RGB")
    width, height = image.size
    short, long = min(width, height), max(width, height)
    if settings.resize != "shortest" or long <= short * _MAX_STRETCH:
        return image
    length = short * _MAX_STRETCH
    start = (long - length) // 2
    box = (start, 0, start + length, height) if width > height else (0, start, width, start + length)
    return image.crop(box)


def _target(size: tuple[int, int], settings: Preprocessing) -> tuple[int, int]:
    """(width, height) after resizing; the longer side is cut off to an integer, as everywhere in the field."""
    width, height = size
    side = settings.resize_size or settings.size
    if settings.resize == "squash":
        return side, side
    return (side, int(side * height / width)) if width <= height else (int(side * width / height), side)


def _centre(pixels: NDArray[Any], settings: Preprocessing) -> NDArray[Any]:
    """The middle `size` × `size` of (height, width, channels)."""
    spare = [length - settings.size for length in pixels.shape[:2]]
    top, left = (each // 2 if settings.crop_rounding == "floor" else round(each / 2) for each in spare)
    return pixels[top : top + settings.size, left : left + settings.size]


@cache
def byte_values(mean: tuple[float, ...], std: tuple[float, ...]) -> Array:
    """(3, 256): what each byte becomes in each channel; the same float32 steps as ToTensor and Normalize."""
    values = np.arange(256, dtype=np.float32) / np.float32(255)
    return np.stack([(values - np.float32(m)) / np.float32(s) for m, s in zip(mean, std, strict=True)])


def _preprocess_tensor(image: Image.Image, settings: Preprocessing) -> Array:
    import torch
    from torch.nn.functional import interpolate

    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).to(torch.float32).div(255)
    width, height = _target(image.size, settings)
    resized = (
        interpolate(
            tensor[None], size=(height, width), mode=settings.interpolation, align_corners=False, antialias=False
        )[0]
        .permute(1, 2, 0)
        .numpy()
    )
    if settings.resize == "shortest":
        resized = _centre(resized, settings)
    mean, std = (np.array(values, np.float32) for values in (settings.mean, settings.std))
    return np.ascontiguousarray(((resized - mean) / std).transpose(2, 0, 1))


def preprocessing_from_json(raw: Mapping[str, Any], where: str) -> Preprocessing:
    """Read back and check what `dataclasses.asdict` made of a `Preprocessing`.

    Raises:
        OpenMofiError: a field is missing, unknown or of a value that cannot be computed; names `where`.
    """
    return checked(as_type(raw, Preprocessing, f"{where}: the preprocessing", "Copy the file again."), where)


def checked(settings: Preprocessing, where: str) -> Preprocessing:
    """Return `settings` if `preprocess` can follow it.

    Raises:
        OpenMofiError: it cannot; names `where`.
    """
    problems = [
        f"interpolation {settings.interpolation!r}" if settings.interpolation not in _FILTERS else "",
        f"resize {settings.resize!r}" if settings.resize not in ("shortest", "squash") else "",
        f"crop_rounding {settings.crop_rounding!r}" if settings.crop_rounding not in ("even", "floor") else "",
        f"size {settings.size!r}" if settings.size < 1 else "",
        f"resize_size {settings.resize_size!r}, below size"
        if settings.resize_size and settings.resize_size < settings.size
        else "",
        f"std {settings.std!r}" if min(settings.std) <= 0 else "",
    ]
    if problems := [problem for problem in problems if problem]:
        raise OpenMofiError(f"{where}: the preprocessing asks for {', '.join(problems)}, which is not supported.")
    return settings


def three(values: Any) -> tuple[float, float, float]:
    """Return three floats, one for each channel."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue

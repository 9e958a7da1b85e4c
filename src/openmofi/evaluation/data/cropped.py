"""Parts of images as images of their own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from openmofi.features.sources import ImageSource, Load
from openmofi.pairs import ImageRefused, decode_image
from openmofi.schema import Pair
from openmofi.storage import fingerprint

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge, in pixels."""


def cropped(source: ImageSource, mark: object, box_of: Callable[[str, tuple[int, int]], Box]) -> ImageSource:
    """A source of the same images, each cropped when it is loaded.

    Args:
        source: the whole images.
        mark: identifies the boxes; JSON values.
        box_of: key and (width, height) → the box.
    """

    def read() -> Iterator[tuple[str, Load]]:
        for key, load in source.read():
            yield key, partial(_crop, load, partial(box_of, key))

    return ImageSource(source.name, fingerprint([source.stamp, mark]), read)


def _crop(load: Load, box_of: Callable[[tuple[int, int]], Box]) -> Pair:
    """Cropped by Pillow and stored as BMP: lossless, and the same bytes in every version."""
    pair = load()
    if pair.image is None:
        return pair
    try:
        image = decode_image(pair.image)
    except ImageRefused as refused:
        return replace(pair, status=refused.status)
    out = io.BytesIO()
    image.crop(box_of(image.size)).save(out, "BMP")
    return replace(pair, image=out.getvalue())

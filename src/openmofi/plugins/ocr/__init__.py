"""Reads texts in images with RapidOCR, whose models (PP-OCRv6, small) lie in its wheel: nothing is downloaded.

Detection takes most of the time, and on most images there is nothing to read. So a small copy of each image is looked
at first, and only where something is there that is longer than it is high, as lines are, the image is read.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from openmofi.errors import MissingExtraError
from openmofi.labeling.in_image import Line, TextReaderKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

_GLANCE, _LEAST, _MOST = 256, 448, 640
"""Pixels of the longer side: of the small copy, and between which the copy lies that is read."""
_LONG = 1.5
"""Least ratio of the sides of a line of text."""
_SETTINGS = {
    "Global.log_level": "critical",
    "Global.use_cls": False,  # would turn lines that are upside down
    "Det.limit_type": "max",
    "Det.limit_side_len": _MOST,
    # Images are decoded, and so read, in a thread a core.
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
}


class RapidReader:
    """Reads the lines of images; thread-safe."""

    def __init__(self) -> None:
        from rapidocr import RapidOCR

        self._glance: Any = RapidOCR(params=_SETTINGS | {"Global.use_rec": False})
        self._read: Any = RapidOCR(params=_SETTINGS)

    def __call__(self, image: Image) -> Sequence[Line]:
        """Return the lines of an RGB image, from the top, and from left to right where they stand beside each other."""
        boxes = self._glance(_pixels(image, _GLANCE)).boxes
        if boxes is None or not any(_ratio(box) >= _LONG for box in boxes):
            return ()
        lines = self._read(_pixels(image, min(max(*image.size, _LEAST), _MOST)))
        return [Line(text, float(score)) for text, score in zip(lines.txts or (), lines.scores or (), strict=True)]


def _pixels(image: Image, side: int) -> Any:
    """Return an image whose longer side has so many pixels, (height, width, 3) uint8, blue first as OpenCV has it."""
    scale = side / max(image.size)
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), resample=2)
    return np.ascontiguousarray(np.asarray(small)[:, :, ::-1])


def _ratio(box: Any) -> float:
    """Return the ratio of the longer to the shorter side of a box, (4, 2) its corners in turn."""
    short, long = sorted(float(np.linalg.norm(box[0] - box[corner])) for corner in (1, 3))
    return long / max(short, 1.0)


def _fingerprint() -> str:
    try:
        return f"rapidocr {version('rapidocr')}, PP-OCRv6 small"
    except PackageNotFoundError as error:
        raise MissingExtraError.of("rapidocr", "ocr") from error


READER = TextReaderKind(_fingerprint, RapidReader)

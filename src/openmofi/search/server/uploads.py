"""Images that clients sent to search with: checked, kept in memory for a while, then forgotten."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from openmofi.pairs import ImageRefused
from openmofi.pairs.images.decode import decoding
from openmofi.schema import PairStatus
from openmofi.search.server.answers import Refused

KEPT_BYTES, KEPT_SECONDS = 512 << 20, 3600.0
_STATUS = {PairStatus.IMAGE_TOO_LARGE: 413, PairStatus.IMAGE_UNSUPPORTED_FORMAT: 415}


@dataclass(frozen=True)
class Upload:
    """An uploaded image.

    Attributes:
        upload: by which queries name it.
        width, height: upright, in pixels.
    """

    upload: str
    width: int
    height: int


class Uploads:
    """Uploaded images by their tokens; the oldest are forgotten first. Threads may share it.

    Args:
        max_pixels: larger images are refused.
        kept_bytes, kept_seconds: how much is kept, and how long.
    """

    def __init__(self, max_pixels: int, kept_bytes: int = KEPT_BYTES, kept_seconds: float = KEPT_SECONDS) -> None:
        self._max_pixels, self._kept_bytes, self._kept_seconds = max_pixels, kept_bytes, kept_seconds
        self._held: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._lock = Lock()

    def add(self, data: bytes) -> Upload:
        """Check that these bytes are an image, decoding it, and keep them.

        Raises:
            Refused: they are none, of an unread format (415), or too large (413).
        """
        try:
            with decoding(data, max_pixels=self._max_pixels) as decoded:
                upload = Upload(secrets.token_urlsafe(16), decoded.width, decoded.height)
        except ImageRefused as refused:
            raise _refusal(refused) from refused
        with self._lock:
            self._held[upload.upload] = (time.monotonic(), data)
            self._forget()
        return upload

    def get(self, upload: str) -> bytes:
        """The bytes of an upload.

        Raises:
            Refused: it is unknown, or was forgotten.
        """
        with self._lock:
            self._forget()
            if upload not in self._held:
                raise Refused(404, "This upload is not there any more.", "Upload the image again.")
            return self._held[upload][1]

    def _forget(self) -> None:
        oldest = time.monotonic() - self._kept_seconds
        total = sum(len(data) for _, data in self._held.values())
        while self._held:
            made, data = next(iter(self._held.values()))
            if made >= oldest and total <= self._kept_bytes:
                return
            self._held.popitem(last=False)
            total -= len(data)


def _refusal(refused: ImageRefused) -> Refused:
    status = _STATUS.get(refused.status, 422)
    sentence = {413: "This image has too many pixels", 415: "Images of this format are not read"}.get(
        status, "This is not an image that can be read"
    )
    return Refused(status, f"{sentence}: {refused.why}.", "Send a JPEG, PNG, WebP, GIF, AVIF, BMP or TIFF.")

"""Images that a table names by their path: always within the table's folder."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath

import fsspec

from openmofi.pairs.formats.grouping import Content
from openmofi.pairs.read_settings import ReadSettings
from openmofi.schema import PairStatus

_ELSEWHERE = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")


def inside(path: str) -> bool:
    """Whether a path that a table names stays in the table's folder (URLs, drives, absolute paths, `..` do not)."""
    plain = path.replace("\\", "/")
    return bool(plain) and "\0" not in plain and not _ELSEWHERE.match(plain) and not plain.startswith("/") \
        and ".." not in PurePosixPath(plain).parts


class ImageFiles:
    """Reads images below one folder. Symbolic links that its owner made there are followed."""

    def __init__(self, folder: str, settings: ReadSettings, *, paths_only: bool = False) -> None:
        """With `paths_only` an image's content is its path (as of `os.fsencode`), and no image is opened."""
        self._named_folder, self._paths_only = folder, paths_only
        self._filesystem, self._folder = fsspec.core.url_to_fs(folder)
        self._limit = settings.max_image_bytes

    def image(self, path: str) -> Content | None:
        """The image's bytes; `None` where it does not exist or its path leaves the folder.

        Raises:
            OSError: reading failed on the way; trying again may help.
        """
        if not inside(path):
            return None
        if self._paths_only:
            return Content(os.fsencode(f"{self._named_folder}/{path}"))
        full_path = f"{self._folder.rstrip('/')}/{path}"
        try:
            with self._filesystem.open(full_path, "rb") as handle:
                data = handle.read(self._limit + 1)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError):
            return None
        return self.within_limit(data)

    def within_limit(self, data: bytes) -> Content:
        """Image bytes that a table holds itself."""
        return Content(data) if len(data) <= self._limit else Content(None, PairStatus.IMAGE_TOO_LARGE)

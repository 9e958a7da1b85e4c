"""Images that a table names by their path: always within one folder."""

import os
import re
from pathlib import PurePosixPath

from openmofi.pairs.formats.grouping import MemberContent
from openmofi.pairs.read_settings import NO_FILE, ReadSettings, open_regular
from openmofi.pairs.text import printable
from openmofi.schema import PairStatus
from openmofi.storage.addresses import filesystem_of, is_remote

_ELSEWHERE = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")
_WEB = re.compile(r"^https?://", re.IGNORECASE)


def inside(path: str) -> bool:
    """Whether a path in a table stays in the table's folder; URLs, drives, absolute paths and `..` do not."""
    plain = path.replace("\\", "/")
    return (
        bool(plain)
        and "\0" not in plain
        and not _ELSEWHERE.match(plain)
        and not plain.startswith("/")
        and ".." not in PurePosixPath(plain).parts
    )


class ImageFiles:
    """Reads images below one folder: the table's, or the settings' `image_root`.

    Paths are relative to it; absolute ones count where they lie below it. Symbolic links that its owner made there are
    followed.

    Attributes:
        unread: what was wrong with the first path whose image was not read, or `""`.
    """

    def __init__(self, table: str, settings: ReadSettings, *, paths_only: bool = False) -> None:
        """Open the folder; with `paths_only` an image's content is its path (`os.fsencode`), and none is opened."""
        self._paths_only = paths_only
        self._root = (settings.image_root or table.rpartition("/")[0] or ".").rstrip("/")
        self._filesystem, folder = filesystem_of(self._root or "/")
        self._above = tuple(f"{name.rstrip('/')}/" for name in (folder, self._filesystem.unstrip_protocol(folder)))
        self._limit = settings.max_image_bytes
        self.unread = ""

    def location(self, path: str) -> str | None:
        """Return the image's path, below the folder as given; `None` where it leads out of the folder, or is none."""
        try:
            os.fsencode(path)
        except UnicodeEncodeError:
            self._note(f"{path} is not the name of a file: half of a surrogate pair is no character.")
            return None
        within = next((path.removeprefix(above) for above in self._above if path.startswith(above)), path)
        if inside(within):
            return f"{self._root}/{within}"
        if _WEB.match(path):
            self._note(f"{path} is an address in the web. Download the images first, e.g. with img2dataset.")
        else:
            self._note(
                f"{path} leads out of {self._above[0]}. Name a folder that all images lie below with --image-root."
            )
        return None

    def image(self, path: str) -> MemberContent | None:
        """Read the image's bytes; `None` where it does not exist or its path leaves the folder.

        Raises:
            OSError: reading failed on the way; trying again may help.
        """
        if (location := self.location(path)) is None:
            return None
        if self._paths_only:
            return MemberContent(os.fsencode(location))
        try:
            name = self._filesystem._strip_protocol(location)
            with self._filesystem.open(name, "rb") if is_remote(location) else open_regular(name) as handle:
                data = handle.read(self._limit + 1)
        except NO_FILE as error:
            self._note(
                f"{location} cannot be read: {error.strerror or 'there is no such file'}. Paths are relative to "
                f"{self._above[0]}; name another folder with --image-root."
            )
            return None
        return self.within_limit(data)

    def within_limit(self, data: bytes) -> MemberContent:
        """Return image bytes that a table holds itself, unless they are too many."""
        return MemberContent(data) if len(data) <= self._limit else MemberContent(None, PairStatus.IMAGE_TOO_LARGE)

    def _note(self, fault: str) -> None:
        # Names of files may hold bytes that are not UTF-8.
        self.unread = self.unread or printable(fault)

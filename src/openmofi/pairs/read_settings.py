"""Settings of reading pairs; opening sources as files; reporting damage."""

from __future__ import annotations

import errno
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from openmofi.config import PositiveInt, Settings
from openmofi.errors import OpenMofiError
from openmofi.storage.addresses import is_remote, local_path, open_address
from openmofi.storage.encodings import check_encoding

_log = logging.getLogger(__name__)
_NO_WAITING = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


RAISE_RATIO = "If it is meant to be so, raise --max-unpack-ratio"
"""What helps where something unpacks to far more than its own size."""


class IrregularFileError(OSError):
    """The path is not of a file but of a pipe, a socket or a device, which may never end or never begin."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(errno.EINVAL, "it is not a regular file", str(path))


NO_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, IrregularFileError)
"""What a system raises where there is no such file for us; other errors of reading may pass."""


class Damage(Exception):
    """A shard cannot be read on from here.

    Attributes:
        hint: what helps, the beginning of a sentence.
    """

    def __init__(self, message: str, hint: str = "Fetch the file again") -> None:
        super().__init__(message)
        self.hint = hint


def open_regular(path: str | Path) -> IO[bytes]:
    """Open a local file for reading bytes, without waiting: opening a pipe waits until somebody writes into it.

    Raises:
        OSError: one of `NO_FILE` where there is no such file for us.
    """
    try:
        descriptor = os.open(path, _NO_WAITING)
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO):  # no file can have this name; a socket
            raise FileNotFoundError(error.errno, error.strerror, str(path)) from error
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise IrregularFileError(path)
        return open(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def open_source(path: str) -> IO[bytes]:
    """Open a local path or fsspec URL for reading bytes.

    Raises:
        OpenMofiError: it does not exist, may not be read, or its protocol is unknown; trying again cannot help.
        OSError: anything else; reading may raise it too.
    """
    try:
        return open_address(path) if is_remote(path) else open_regular(local_path(path))
    except FileNotFoundError as error:
        raise OpenMofiError(f"{path} does not exist.", "Check the path.") from error
    except NO_FILE as error:
        raise OpenMofiError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except ValueError as error:
        raise OpenMofiError(f"{path} cannot be opened: {error}.") from error


def report_damage(message: str, settings: ReadSettings, error: Exception, hint: str = "Fetch the file again") -> None:
    """Report damage as `on_damage` says: raise `message`, or log it and keep what was read.

    Raises:
        OpenMofiError: `on_damage` is `stop`.
    """
    if settings.on_damage == "stop":
        raise OpenMofiError(message, f"{hint}, or use --on-damage keep to take what can be read.") from error
    _log.warning("%s What can be read is kept.", message)


MAX_PIXELS = 89_478_485
"""Pillow's own bound against decompression bombs: a quarter of a gigabyte of RGB."""

ColumnNames = str | tuple[str, ...]
"""A column's name, or several entries, each a name or `PATTERN=NAME`."""


@dataclass(frozen=True)
class ReadSettings(Settings):
    """How pairs are read. Everything here decides what rows come out, so it belongs into a job's manifest.

    Attributes:
        max_text_chars: a longer text is cut to this many code points, and its row is `TEXT_TOO_LONG`.
        max_image_bytes: a larger encoded image is not read; its row is `IMAGE_TOO_LARGE`.
        on_damage: what to do where a shard is cut off or damaged. `stop` leaves the shard out and fails in the end;
            `keep` takes what can be read, with a warning in the log.
        max_unpack_ratio: a compressed tar that unpacks to more than 64 MiB and more than this many times its own size
            counts as damaged.
        text_column: column of Parquet, CSV, TSV or JSON-lines tables with the text; empty takes the first of the common
            names. `PATTERN=COLUMN` is for the inputs that PATTERN matches: a path, or the name of a file or folder,
            perhaps with `*`; the last one that matches counts. Several columns without a pattern are several texts of
            an image, joined a line each.
        image_column: column of tables with the image or its path, as a name or `PATTERN=COLUMN`.
        key_column: column of tables with the key, as a name or `PATTERN=COLUMN`.
        url_column: column of tables with the image's address, as a name or `PATTERN=COLUMN`.
        image_root: folder that the images of tables lie below: paths are relative to it, or absolute and below it;
            empty is the table's own folder.
        encoding: of CSV, TSV and JSON-lines tables, and of captions that are files, such as `cp1252`. Where empty they
            are read as UTF-8, those with its byte-order mark as UTF-16, and tables that are neither as Windows-1252,
            with a warning.
    """

    max_text_chars: PositiveInt = 10_000
    max_image_bytes: PositiveInt = 64 << 20
    on_damage: Literal["stop", "keep"] = "stop"
    # A few kilobytes of gzip can hold gigabytes of nothing; photographs hardly shrink.
    max_unpack_ratio: PositiveInt = 200
    text_column: ColumnNames = ""
    image_column: ColumnNames = ""
    key_column: ColumnNames = ""
    url_column: ColumnNames = ""
    image_root: str = ""
    encoding: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_encoding(self.encoding)
        if self.image_root and not is_remote(self.image_root):  # later commands may be started in another folder
            object.__setattr__(self, "image_root", str(local_path(self.image_root).absolute()))
        for name in ("text_column", "image_column", "key_column", "url_column"):
            entries = getattr(self, name)
            if not isinstance(entries, str) and len(entries) < 2:
                object.__setattr__(self, name, "".join(entries))

    @property
    def has_kinds(self) -> bool:
        """Whether it is kept which column a text comes from: where several are named."""
        return not isinstance(self.text_column, str)

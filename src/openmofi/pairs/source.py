"""Opening shards, and what to do where one is damaged."""

from __future__ import annotations

import logging
from typing import IO

from openmofi.errors import OpenMofiError
from openmofi.pairs.read_settings import ReadSettings
from openmofi.storage.addresses import open_address

_log = logging.getLogger(__name__)


class Damage(Exception):
    """A shard cannot be read on from here.

    Attributes:
        hint: what helps, the beginning of a sentence.
    """

    def __init__(self, message: str, hint: str = "Fetch the file again") -> None:
        super().__init__(message)
        self.hint = hint


def open_source(path: str) -> IO[bytes]:
    """Open a local path or fsspec URL for reading bytes.

    Raises:
        OpenMofiError: it does not exist, may not be read, or its protocol is unknown; trying again cannot help.
        OSError: anything else; reading may raise it too.
    """
    try:
        return open_address(path)
    except FileNotFoundError as error:
        raise OpenMofiError(f"{path} does not exist.", "Check the path.") from error
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except ValueError as error:
        raise OpenMofiError(f"{path} cannot be opened: {error}.") from error


def report_damage(message: str, settings: ReadSettings, error: Exception, hint: str = "Fetch the file again") -> None:
    """What `on_damage` says: raise `message`, or log it and let the reader keep what it has read.

    Raises:
        OpenMofiError: `on_damage` is `stop`.
    """
    if settings.on_damage == "stop":
        raise OpenMofiError(message, f"{hint}, or use --on-damage keep to take what can be read.") from error
    _log.warning("%s What can be read is kept.", message)

"""Opening what a user named."""

from __future__ import annotations

from typing import IO, cast

import fsspec

from openmofi.errors import OpenMofiError


def open_source(path: str) -> IO[bytes]:
    """Open a local path or fsspec URL for reading bytes.

    Raises:
        OpenMofiError: it is not there, may not be read, or its protocol is not known; trying again cannot
            help.
        OSError: anything else.
    """
    try:
        return cast("IO[bytes]", fsspec.open(path, "rb").open())
    except FileNotFoundError as error:
        raise OpenMofiError(f"{path} is not there.", "Check the path.") from error
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except (ImportError, ValueError) as error:
        raise OpenMofiError(f"{path} cannot be opened: {error}.") from error

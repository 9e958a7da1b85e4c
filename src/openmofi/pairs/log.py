"""What img2dataset, or `openmofi fetch`, noted of a tar's images in the Parquet file beside it."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq

from openmofi.errors import OpenMofiError
from openmofi.pairs.formats.parquet import DAMAGE, raise_if_of_machine
from openmofi.pairs.read_settings import open_source
from openmofi.storage import exists

PROVENANCE = ("url", "license", "creator", "fetched_at", "sha256")
"""Columns of where an image comes from, which go along with it."""
_OF_FETCHING = frozenset(
    ("caption", "key", "status", "error_message", "http_status")
    + ("width", "height", "original_width", "original_height", "exif")
)  # fmt: skip
_FIRST = {"key", "status", "url"}


def logged(path: str) -> dict[str, dict[str, Any]]:
    """Return key → what is noted of where an image comes from, without what says nothing; empty without a log.

    Raises:
        OpenMofiError: the log is damaged.
    """
    log = f"{path.removesuffix('.tar')}.parquet"
    if not path.endswith(".tar") or not exists(log):
        return {}
    with open_source(log) as handle:
        try:
            table = pq.ParquetFile(handle)
            names = table.schema_arrow.names
            if not set(names) >= _FIRST:  # pairs of their own
                return {}
            kept = [name for name in names if name not in _OF_FETCHING]
            rows = table.read(["key", *kept], use_threads=False).to_pylist()
        except DAMAGE as error:
            raise_if_of_machine(error)
            raise OpenMofiError(f"{log} is damaged: {error}.", "Fetch the file again, or remove it.") from error
    return {str(row["key"]): {name: row[name] for name in kept if row[name] not in (None, "")} for row in rows}

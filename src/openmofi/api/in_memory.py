"""Pairs that a program holds, as a table in a file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmofi.api.given import Folder, Pairs, PairsLike
from openmofi.errors import UsageError
from openmofi.pairs import ReadSettings

if TYPE_CHECKING:
    import pyarrow as pa


def stored(pairs: PairsLike, out: Folder, read: ReadSettings) -> tuple[Pairs, ReadSettings]:
    """Write pairs that are held in memory to `OUT.pairs.parquet`, where later commands find them.

    Args:
        pairs: a data frame or another table that Arrow takes, whose images are bytes or paths; or a list of (image,
            text), whose images are stored themselves. Names of shards are returned as they are.
        out: the output of the job.
        read: how pairs are read; paths in a table are relative to the working directory where it names no other folder.

    Returns:
        the file, and how it is read.

    Raises:
        UsageError: a column cannot be stored, or an item is no pair of an image and a text.
        OpenMofiError: the file cannot be written.
    """
    import pyarrow as pa

    from openmofi.storage import write_table

    path = f"{str(out).rstrip('/')}.pairs.parquet"
    if hasattr(pairs, "__arrow_c_stream__"):
        try:
            write_table(path, pa.table(pairs))
        except (pa.ArrowException, TypeError) as error:
            raise UsageError(
                f"The table of pairs cannot be stored: {error}.",
                "Give images as bytes or paths, or a list of (image, text).",
            ) from error
        return path, replace(read, image_root=read.image_root or str(Path.cwd()))
    if isinstance(pairs, Sequence) and not isinstance(pairs, str) and not all(isinstance(x, str | Path) for x in pairs):
        write_table(path, _listed(pairs))
        return path, read
    return pairs, read  # type: ignore[return-value]


def _listed(pairs: Sequence[Any]) -> pa.Table:
    import pyarrow as pa

    for number, pair in enumerate(pairs):
        if not isinstance(pair, Sequence) or len(pair) != 2 or not isinstance(pair[1], str | None):
            raise UsageError(
                f"Item {number} of the pairs is no (image, text).", "Give images, or paths, with a text each."
            )
    images, texts = [_encoded(image) for image, _ in pairs], [text for _, text in pairs]
    return pa.table({"image": pa.array(images, pa.binary()), "text": pa.array(texts, pa.string())})


def _encoded(image: Any) -> bytes | None:
    """An image's bytes; none where a path leads to no file, which becomes the row's status."""
    from PIL import Image

    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        try:
            return Path(image).read_bytes()
        except OSError:
            return None
    written = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(written, "PNG")
    return written.getvalue()

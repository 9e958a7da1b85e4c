"""Pairs that a program holds, as a table in a file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from openmofi.api.given import Batched, Folder, Pairs, PairsLike
from openmofi.errors import UsageError
from openmofi.pairs import ReadSettings

if TYPE_CHECKING:
    import pyarrow as pa

    from openmofi.pairs.formats.files import ImageFiles

_BATCH = 256
"""Rows of a dataset that are turned at a time."""
_PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")


def stored(pairs: PairsLike, out: Folder, read: ReadSettings, *, restart: bool) -> tuple[Pairs, ReadSettings]:
    """Write pairs that are held in memory to `OUT.pairs.parquet`, where later commands find them.

    Args:
        pairs: a data frame or another table that Arrow takes, or a dataset of `datasets`, whose images are bytes or
            paths; or a list of (image, text). Images of the last two are stored themselves. Names of shards are
            returned as they are.
        out: the output of the job.
        read: how pairs are read; paths in a table are relative to the working directory where it names no other folder.
        restart: the file may hold other pairs, of labels that are made anew.

    Returns:
        The file, and how it is read.

    Raises:
        UsageError: a column cannot be stored, an item is no pair of an image and a text, the pairs are a mapping or a
            dataset without rows, or the file holds other pairs.
        OpenMofiError: the file cannot be written.
    """
    import pyarrow as pa

    path = f"{str(out).rstrip('/')}.pairs.parquet"
    if isinstance(pairs, Mapping):
        raise UsageError(
            f"The pairs are a {type(pairs).__name__} of {', '.join(map(str, pairs))}.",
            "Give one split of a dataset, a table, or a list of (image, text).",
        )
    if hasattr(pairs, "with_format") and hasattr(pairs, "iter"):
        rooted = replace(read, image_root=read.image_root or str(Path.cwd()))
        _keep(path, _parquet(_with_bytes(cast("Batched", pairs), rooted)), restart)
        return path, read
    if hasattr(pairs, "__arrow_c_stream__"):
        try:
            content = _parquet(pa.table(pairs))
        except (pa.ArrowException, TypeError) as error:
            raise UsageError(
                f"The table of pairs cannot be stored: {error}.",
                "Give images as bytes or paths, or a list of (image, text).",
            ) from error
        _keep(path, content, restart)
        return path, replace(read, image_root=read.image_root or str(Path.cwd()))
    if isinstance(pairs, Sequence) and not isinstance(pairs, str) and not all(isinstance(x, str | Path) for x in pairs):
        _keep(path, _parquet(_listed(pairs)), restart)
        return path, read
    return cast("Pairs", pairs), read


def _with_bytes(dataset: Batched, read: ReadSettings) -> pa.Table:
    """Return the rows of a dataset, with the bytes of its images. Others may have made it: a path of an image is read
    as one of a table, below the folder that `read` names.
    """
    import pyarrow as pa

    from openmofi.pairs.formats.files import ImageFiles

    files, parts = ImageFiles("", read), []
    for part in dataset.with_format("arrow").iter(_BATCH):
        for number, field in enumerate(part.schema):
            if pa.types.is_struct(field.type) and {each.name for each in field.type} == {"bytes", "path"}:
                images = [_content(image, files) for image in part[number].to_pylist()]
                part = part.set_column(number, field.name, pa.array(images, pa.large_binary()))
        parts.append(part)
    if not parts:
        raise UsageError("The dataset of pairs has no rows.")
    return pa.concat_tables(parts, promote_options="permissive")


def _content(image: Mapping[str, Any] | None, files: ImageFiles) -> bytes | None:
    if image is None:
        return None
    if image["bytes"] or not image["path"]:
        return cast("bytes | None", image["bytes"])
    found = files.image(image["path"])
    return None if found is None else found.data


def _parquet(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    pq.write_table(table, written := io.BytesIO(), compression="zstd")
    return written.getvalue()


def _keep(path: str, content: bytes, restart: bool) -> None:
    """Write a file, unless it is there with other content, of which labels were made."""
    from openmofi.pairs.read_settings import open_source
    from openmofi.storage import exists, write_bytes

    if exists(path) and not restart:
        with open_source(path) as file:
            if file.read() != content:
                raise UsageError(f"{path} holds other pairs.", "Choose another output, or restart=True to begin anew.")
    else:
        write_bytes(path, content)


def _listed(pairs: Sequence[Any]) -> pa.Table:
    import pyarrow as pa

    for number, pair in enumerate(pairs):
        if not isinstance(pair, Sequence) or len(pair) != 2 or not isinstance(pair[1], str | None):
            raise UsageError(
                f"Item {number} of the pairs is no (image, text).", "Give images, or paths, with a text each."
            )
    images = [_encoded(image, number) for number, (image, _) in enumerate(pairs)]
    texts = [text for _, text in pairs]
    return pa.table({"image": pa.array(images, pa.binary()), "text": pa.array(texts, pa.string())})


def _encoded(image: Any, number: int) -> bytes | None:
    """An image's bytes; none where a path leads to no file, which becomes the row's status."""
    from PIL import Image

    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        try:
            return Path(image).read_bytes()
        except OSError:
            return None
    try:
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    except (AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            f"The image of item {number} of the pairs is a {type(image).__name__}, not an image.",
            "Give bytes, a path, an image of PIL, or uint8 (height, width, 3).",
        ) from error
    image = image if image.mode in _PNG_MODES else image.convert("RGB")
    image.save(written := io.BytesIO(), "PNG")
    return written.getvalue()

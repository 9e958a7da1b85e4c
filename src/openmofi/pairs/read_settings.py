"""How pairs are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openmofi.config import PositiveInt, Settings

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

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("text_column", "image_column", "key_column", "url_column"):
            entries = getattr(self, name)
            if not isinstance(entries, str) and len(entries) < 2:
                object.__setattr__(self, name, "".join(entries))

    @property
    def has_kinds(self) -> bool:
        """Whether it is kept which column a text comes from: where several are named."""
        return not isinstance(self.text_column, str)

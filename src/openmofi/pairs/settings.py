"""How pairs are read."""

from __future__ import annotations

from dataclasses import dataclass

from openmofi.errors import UsageError

_ON_DAMAGE = ("stop", "keep")


@dataclass(frozen=True)
class ReadSettings:
    """How pairs are read. Everything here decides what rows come out, so it belongs into a job's manifest.

    Attributes:
        max_text_chars: a longer text is cut to this many code points and its row is `TEXT_TOO_LONG`.
        max_image_bytes: a larger encoded image is not read; its row is `IMAGE_TOO_LARGE`.
        on_damage: what to do where a shard is cut off or damaged. `stop`: an error after the rows before the
        damage.
            `keep`: a warning in the log, and what could be read is all there is.
        text_column, image_column, key_column, url_column: columns of Parquet, CSV, TSV or JSON-lines tables;
            `""` takes the first of the common names that is there.
    """

    max_text_chars: int = 10_000
    max_image_bytes: int = 64 << 20
    on_damage: str = "stop"
    text_column: str = ""
    image_column: str = ""
    key_column: str = ""
    url_column: str = ""

    def __post_init__(self) -> None:
        if self.on_damage not in _ON_DAMAGE:
            raise UsageError(f"on_damage is {self.on_damage!r}.", "Use stop or keep.")
        if self.max_text_chars < 1 or self.max_image_bytes < 1:
            raise UsageError("max_text_chars and max_image_bytes must be at least 1.")

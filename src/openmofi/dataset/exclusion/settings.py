"""Which evaluation sets stay out of a dataset, and what counts as a copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any

from msgspec import Meta

from openmofi.config import Settings
from openmofi.dataset.dataset_settings import MAX_BITS
from openmofi.errors import UsageError

AUTO = "auto"


@dataclass(frozen=True)
class ExclusionSettings(Settings):
    """What counts as a copy of an evaluation image.

    Attributes:
        bits: greatest Hamming distance of two 64-bit perceptual hashes, 0..12.
        cosine: least cosine of two images' backbone features, 0..1; `None`: measured for each set, see
            `exclusion.copies`.
        embedding: whether features are compared at all; otherwise hashes alone.
    """

    bits: Annotated[int, Meta(ge=0, le=MAX_BITS)] = 3
    cosine: Annotated[float, Meta(gt=0, le=1)] | None = None
    embedding: bool = True


@dataclass(frozen=True)
class Exclusion:
    """Evaluation sets by name, their paths, and what counts as a copy."""

    sets: dict[str, str]
    settings: ExclusionSettings = ExclusionSettings()

    @classmethod
    def of(cls, sets: Sequence[str], bits: int = 3, cosine: float | str | None = AUTO) -> Exclusion | None:
        """Of what a caller gives; `None` where no set is given.

        Args:
            sets: each PATH or NAME=PATH; without a name it is the path's last part.
            bits: see `ExclusionSettings`.
            cosine: a number, `"auto"`: measured, or `None` or `"off"`: hashes alone.

        Raises:
            UsageError: two sets have one name, or a value is out of its range.
        """
        named: dict[str, str] = {}
        for each in sets:
            name, found, path = each.partition("=")
            if not found or "/" in name:
                name, path = PurePosixPath(each.rstrip("/")).name, each
            if not name or not path:
                raise UsageError(f"--exclude {each!r} names no evaluation set.", "Give PATH or NAME=PATH.")
            if name in named:
                raise UsageError(f"Two evaluation sets are both named {name!r}.", "Give one as NAME=PATH.")
            named[name] = path
        return cls(named, _settings(bits, cosine)) if named else None

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {"sets": self.sets, **self.settings.as_dict()}


def _settings(bits: int, cosine: float | str | None) -> ExclusionSettings:
    if cosine is None or cosine == "off":
        return ExclusionSettings(bits, None, False)
    if cosine == AUTO:
        return ExclusionSettings(bits)
    try:
        return ExclusionSettings(bits, float(cosine))
    except ValueError as error:
        raise UsageError(f"exclude-cosine is {cosine!r}; it must be a number, 'auto' or 'off'.") from error

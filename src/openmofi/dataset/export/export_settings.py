"""Settings of a dataset's export."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from openmofi.config import Settings
from openmofi.pairs import ReadSettings

Format = Literal["huggingface", "webdataset", "parquet", "coco", "fiftyone", "imagefolder", "quickstatements", "xmp"]


@dataclass(frozen=True)
class DatasetExportSettings(Settings):
    """What is exported.

    Attributes:
        format: what opens it, see docs/dataset-export.md.
        images: `auto` refers to images that are files of their own and takes those inside tars or Parquet along;
            `embed` takes all along; `reference` takes none, and is refused where a format needs files and has none.
        min_probability: labels below it are left out, and images that then have none.
        read: Reading pairs.
        licence: for the card: the licence of the images, by its name on the hub.
        name: for the card: of the dataset.
        repository: OWNER/NAME on the hub that it is meant for, for its addresses; empty for none.
    """

    format: Format
    images: Literal["auto", "embed", "reference"] = "auto"
    min_probability: Annotated[float, Meta(ge=0, le=1)] = 0.0
    read: ReadSettings = field(default_factory=ReadSettings)
    licence: str = "unknown"
    name: str = "openmofi-dataset"
    repository: str = ""

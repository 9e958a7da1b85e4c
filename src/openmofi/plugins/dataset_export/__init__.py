"""Settings of a dataset's export."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from openmofi.config import Settings
from openmofi.errors import UsageError, did_you_mean
from openmofi.extensions import extension_names

GROUP = "dataset_formats"
_FORMATS = ("huggingface", "webdataset", "parquet", "coco", "imagefolder")


@dataclass(frozen=True)
class DatasetExportSettings(Settings):
    """What is exported.

    Attributes:
        format: what opens it, see docs/dataset-export.md.
        images: `auto` refers to images that are files of their own and takes those inside tars or Parquet along, for
            `webdataset` and what is pushed all; `embed` takes all along; `reference` takes none, and is refused where
            a format needs files and has none.
        min_probability: labels below it are left out, and images that then have none.
        licence: for the card: the licence of the images, by its name on the hub.
        name: for the card: of the dataset.
        repository: OWNER/NAME on the hub that it is meant for, for its addresses; empty for none. Where it is given,
            nothing that is written names a file of this machine.
    """

    format: str
    images: Literal["auto", "embed", "reference"] = "auto"
    min_probability: Annotated[float, Meta(ge=0, le=1)] = 0.0
    licence: str = "unknown"
    name: str = "openmofi-dataset"
    repository: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format not in (names := [*_FORMATS, *extension_names(GROUP)]):
            raise UsageError(
                f"Unknown format {self.format!r}.{did_you_mean(self.format, names)}", f"Use {', '.join(names)}."
            )
        if self.images == "auto" and (self.repository or self.format == "webdataset"):
            object.__setattr__(self, "images", "embed")

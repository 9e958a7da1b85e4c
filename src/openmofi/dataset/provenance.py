"""How a dataset's labels were made, in sentences for cards."""

from __future__ import annotations

from pathlib import Path

from openmofi.dataset.statistics import read_statistics
from openmofi.dataset.tables import Folder
from openmofi.version import __version__


def how_labelled(dataset: str | Path) -> list[str]:
    """Sentences about a dataset's labels.

    Raises:
        OpenMofiError: it is no finished dataset.
    """
    folder = Folder.open(dataset, "dataset")
    statistics, settings = read_statistics(dataset), folder.manifest.settings
    usable = statistics.funnel.get("usable", 0)
    return [
        f"OpenMOFI {__version__} linked the texts of {statistics.rows:,} image–text pairs ({usable:,} usable) to "
        "entities of a knowledge base and kept an entity where the image shows it, by a calibrated probability; no "
        "person labelled an image.",
        f"{statistics.images:,} images, {statistics.entities:,} entities, {statistics.labels:,} labels; entities with "
        f"fewer than {settings.get('min_images')} images were dropped.",
        f"Labels {folder.manifest.inputs.get('labels', '')}, dataset {folder.manifest.fingerprint}.",
    ]

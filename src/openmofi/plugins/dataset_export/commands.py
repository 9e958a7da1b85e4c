"""`openmofi.export_dataset` and `openmofi dataset export`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import typer

from openmofi.api.given import Folder, kb_of, place_of, public
from openmofi.cli.command import print_json
from openmofi.cli.options import LICENCE, OUT_STORE, Call, Json, made_of
from openmofi.config import changed
from openmofi.errors import UsageError
from openmofi.plugins.dataset_export import DatasetExportSettings
from openmofi.progress import shown_progress
from openmofi.storage import require_local

if TYPE_CHECKING:
    from openmofi.api.changes import ExportDatasetChanges
    from openmofi.dataset.objects import Dataset
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase


@public(DatasetExportSettings, without=("repository",))
def export_dataset(
    dataset: Dataset | Folder,
    out: Folder,
    *,
    format: str,
    name: str = "",
    kb: KnowledgeBase | Folder | None = None,
    push: str = "",
    private: bool = False,
    engine: str = "auto",
    restart: bool = False,
    progress: bool | Progress | None = None,
    **changes: Unpack[ExportDatasetChanges],
) -> Mapping[str, Any]:
    """Write a dataset in a format that other tools open, with a card and Croissant metadata; goes on if stopped.

    Args:
        dataset: folder of a dataset; its shards of pairs must be where they were. In Python also what `build_dataset`
            returned.
        out: the folder to write, or its address in a store.
        format: what opens it: `huggingface`, `webdataset`, `parquet`, `coco`, `imagefolder`, `fiftyone`,
            `quickstatements`, `xmp`, or what a package adds; see docs/dataset-export.md.
        name: for the card; by default the folder's name.
        kb: gives what is above a class, for COCO's supercategories and hierarchical keywords.
        push: OWNER/NAME of a dataset repository on the Hugging Face hub that the folder is uploaded to.

    Returns:
        `images`, `labels` and `classes` written.

    Raises:
        UsageError: the format needs what the settings or the pairs do not give, or what is to be pushed is not local
            or links to images.
        OpenMofiError: the dataset is unfinished or damaged, a shard has changed, nothing is left, `out` was made with
            other settings, or the hub refuses.
    """
    from openmofi.engine import engine_named
    from openmofi.plugins.dataset_export.formats import file_format
    from openmofi.plugins.dataset_export.job import export_dataset
    from openmofi.plugins.export.hub import push as push_folder

    if push:
        require_local(out)
    name = name or Path(str(place_of(dataset))).name
    settings = changed(DatasetExportSettings(format, name=name, repository=push), changes)
    style = file_format(format)
    if push and settings.images == "reference" and style.images and not style.by_address:
        raise UsageError(
            f"{format} refers to images by links, and a push would upload what these lead to.", "Leave --images out."
        )
    with shown_progress(progress) as console:
        counts = export_dataset(
            place_of(dataset),
            out,
            settings,
            kb=None if kb is None else kb_of(kb),
            engine=engine_named(engine),
            progress=console,
            restart=restart,
        )
    if push:
        push_folder(out, push, kind="dataset", private=private)
    return counts


@made_of(export_dataset, out=OUT_STORE, licence=LICENCE)
def export(call: Call, out: str, push: str, as_json: Json = False) -> None:
    """Write a dataset in a format that other tools open, with a card and Croissant metadata; goes on if stopped."""
    counts = call(progress=not as_json)
    if as_json:
        print_json(counts)
        return
    typer.echo(
        f"{counts['images']:,} images, {counts['labels']:,} labels of {counts['classes']:,} classes: {out}"
        + (f"; pushed to {push}" if push else "")
    )

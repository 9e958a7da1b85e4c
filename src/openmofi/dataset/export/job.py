"""`openmofi dataset export`: a dataset in a format of other tools, shard by shard on an engine; it goes on."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from openmofi.dataset.export import files, tables
from openmofi.dataset.export.card import CARD, CROISSANT, write_card
from openmofi.dataset.export.classes import Classes
from openmofi.dataset.export.export_settings import DatasetExportSettings
from openmofi.dataset.export.rows import rows_of
from openmofi.dataset.tables import Folder
from openmofi.engine import Engine, LocalEngine, Progress, Quiet
from openmofi.engine.status import recorded
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs.read import job_of
from openmofi.storage import Outputs, Shard, claimed, finish_manifest, write_json
from openmofi.storage.copies import cache_folder

PARTS = "parts"
_log = logging.getLogger(__name__)
OUTPUTS = Outputs(
    (
        "data/**/*",
        "images/**/*",
        "classes/**/*",
        "sidecars/**/*",
        f"{PARTS}/*",
        "annotations.json",
        "labels.json",
        "data.json",
        "labels.jsonl",
        "statements.txt",
        "classes.json",
        CARD,
        CROISSANT,
    )
)
_TABLES: dict[str, tuple[str, Callable[..., int]]] = {
    "huggingface": ("parquet", tables.write_huggingface),
    "parquet": ("parquet", tables.write_parquet),
    "webdataset": ("tar", tables.write_webdataset),
}
_FILES: dict[str, tuple[Callable[..., int], Callable[..., None]]] = {
    "coco": (files.write_images, files.join_coco),
    "fiftyone": (partial(files.write_images, below="data"), files.join_fiftyone),
    "imagefolder": (files.write_class_folders, files.join_list),
    "xmp": (files.write_sidecars, files.join_list),
    "quickstatements": (files.write_statements, files.join_statements),
}


@dataclass(frozen=True)
class ExportStage:
    """The work of one shard; it is the engine's factory, and opens what it needs in each worker.

    Attributes:
        dataset, out: folders.
        settings: see there.
        kb: gives what is above a class; `None` for nothing.
    """

    dataset: str
    out: str
    settings: DatasetExportSettings
    kb: KnowledgeBase | None

    def __call__(self) -> Callable[[Shard], dict[str, Any]]:
        """Open the dataset; the work writes a shard's file, unless it is there."""
        folder = Folder.open(self.dataset, "dataset")
        return partial(self._export, folder, Classes.of(folder, self.kb))

    def path(self, shard: Shard) -> Path:
        """What is there once a shard is done."""
        if self.settings.format in _TABLES:
            return Path(self.out) / "data" / f"{shard.name}.{_TABLES[self.settings.format][0]}"
        return Path(self.out) / PARTS / f"{shard.name}.jsonl"

    def _export(self, folder: Folder, classes: Classes, shard: Shard) -> dict[str, Any]:
        path, style = self.path(shard), self.settings.format
        if path.exists():
            return {}
        rows = rows_of(
            folder, shard, classes, self.settings, cache_folder() / "images", images=style != "quickstatements"
        )
        if style in _TABLES:
            return {"images": _TABLES[style][1](str(path), rows, classes)}
        return {"images": _FILES[style][0](Path(self.out), str(path), rows, classes)}


def export_dataset(
    dataset: str | Path,
    out: str | Path,
    settings: DatasetExportSettings,
    *,
    kb: KnowledgeBase | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    restart: bool = False,
) -> dict[str, Any]:
    """Write a dataset in another tool's format, with a card and Croissant metadata.

    Args:
        dataset: folder of `openmofi dataset build`; its shards of pairs must be where they were.
        out: the folder to write.
        settings: see `DatasetExportSettings`.
        kb: gives the hierarchy of classes.
        engine, progress: how it runs, what reports its progress.
        restart: remove what was made in `out` before, and begin anew.

    Returns:
        `images`, `labels` and `classes` written.

    Raises:
        UsageError: the format needs what the settings or the pairs do not give.
        OpenMofiError: the dataset is unfinished or damaged, a shard has changed, nothing is above the probability, or
            `out` was made with other settings.
    """
    engine, progress = engine or LocalEngine(), progress or Quiet()
    folder = Folder.open(dataset, "dataset")
    stage = ExportStage(str(dataset), str(out), settings, kb)
    inputs = {"dataset": folder.manifest.fingerprint, **({"kb": kb.fingerprint} if kb else {})}
    with claimed(out, "dataset-export", settings.as_dict(), inputs, outputs=OUTPUTS, restart=restart) as manifest:
        if manifest.finished:
            return dict(manifest.counts)
        missing = [shard for shard in folder.shards if not stage.path(shard).exists()]
        if missing:
            with (
                recorded(progress, out) as progress,
                engine.suited(job_of(missing, settings.read, "cpu", None), progress).session() as session,
            ):
                progress.begin("export", len(missing))
                session.run(stage, missing, progress)
        counts = _finish(folder, stage, Path(out))
        finish_manifest(out, manifest, counts)
        return counts


def _finish(folder: Folder, stage: ExportStage, out: Path) -> dict[str, Any]:
    classes, settings = Classes.of(folder, stage.kb), stage.settings
    images, labels = _counted(stage, folder)
    if not images:
        raise OpenMofiError(
            f"No label of {folder.path} has a probability of {settings.min_probability:g} or more."
            if settings.format != "quickstatements" or settings.min_probability
            else f"No image of {folder.path} has an M-identifier of Wikimedia Commons (M123) as its key and "
            "a label that is an item of Wikidata (Q42).",
            "Lower --min-probability, or export another dataset, with --restart.",
        )
    if settings.format == "quickstatements" and (others := _above(folder, settings.min_probability)[0] - images):
        _log.warning(
            "%d images are not in statements.txt: their key is no M-identifier of Wikimedia Commons, or none "
            "of their labels is an item of Wikidata.",
            others,
        )
    if settings.format in _FILES:
        _FILES[settings.format][1](out, partial(_records, stage, folder), classes)
    counts = {"images": images, "labels": labels, "classes": len(classes.ids)}
    write_json(
        out / "classes.json",
        [
            {"class_id": number, "entity": entity, "name": name, "folder": file, "ancestors": list(chain)}
            for number, (entity, name, file, chain) in enumerate(
                zip(classes.ids, classes.unique, files.folder_names(classes), classes.chains, strict=True)
            )
        ],
    )
    write_card(out, folder, settings, counts)
    if settings.format in _FILES:
        shutil.rmtree(out / PARTS)
    return counts


def _records(stage: ExportStage, folder: Folder) -> Iterator[dict[str, Any]]:
    for shard in folder.shards:
        with open(stage.path(shard), encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _counted(stage: ExportStage, folder: Folder) -> tuple[int, int]:
    """Return the numbers of images and labels that are exported."""
    if stage.settings.format in _FILES:
        counts = [len(record["labels"]) for record in _records(stage, folder)]
        return len(counts), sum(counts)
    return _above(folder, stage.settings.min_probability)


def _above(folder: Folder, probability: float) -> tuple[int, int]:
    """Count the images with a label of at least this probability, and those labels."""
    images = labels = 0
    for shard in folder.shards:
        for scores in folder.read(shard, ["scores"])["scores"].to_pylist():
            above = sum(score >= probability for score in scores)
            images, labels = images + (above > 0), labels + above
    return images, labels

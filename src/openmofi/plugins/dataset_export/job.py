"""`openmofi dataset export`: a dataset in a format of other tools, shard by shard on an engine; it goes on."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from openmofi.dataset.collect import how_labelled
from openmofi.dataset.report.examples import template
from openmofi.dataset.tables import Folder
from openmofi.engine import Engine, LocalEngine, Progress, Quiet, recorded
from openmofi.errors import OpenMofiError
from openmofi.features.notes import noted_read
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs.log import PROVENANCE
from openmofi.pairs.read import job_of
from openmofi.plugins.dataset_export import DatasetExportSettings
from openmofi.plugins.dataset_export.formats import SHARDED, FileFormat, all_formats, file_format, folder_names
from openmofi.plugins.dataset_export.rows import Classes, rows_of
from openmofi.storage import (
    Outputs,
    Shard,
    cache_folder,
    claimed,
    exists,
    finish_manifest,
    is_remote,
    write_json,
    write_text,
)
from openmofi.storage.folders import written_folder

CARD, CROISSANT = "README.md", "croissant.json"
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)
_ENCODINGS = {".json": "application/json", ".jsonl": "application/jsonl", ".csv": "text/csv"}
_READ = 1 << 20
_OF_REPOSITORIES = "https://github.com/mlcommons/croissant/issues/80"
"""Stands for the digest of a repository, which has none; the hub writes the same."""


def write_card(out: str, dataset: Folder, settings: DatasetExportSettings, counts: dict[str, Any]) -> None:
    """Write `README.md` and `croissant.json`."""
    labels = how_labelled(dataset.path)
    card = template(__package__, "card.md.j2")
    header = yaml.safe_dump(_header(settings, counts), sort_keys=False, allow_unicode=True).strip()
    write_text(f"{out}/{CARD}", card.render(header=header, settings=settings, counts=counts, labels=labels))
    write_json(f"{out}/{CROISSANT}", croissant(out, settings, counts, " ".join(labels)))


def _header(settings: DatasetExportSettings, counts: dict[str, Any]) -> dict[str, Any]:
    size = next((name for most, name in _SIZES if counts["images"] < most), "n>1B")
    header: dict[str, Any] = {
        "pretty_name": settings.name,
        "license": settings.licence,
        "task_categories": ["image-classification"],
        "size_categories": [size],
        "tags": ["openmofi", "croissant", "entity-labels"],
        "annotations_creators": ["machine-generated"],
    }
    if ending := file_format(settings.format).ending:
        files_of = [{"split": "train", "path": f"data/*.{ending}"}]
        header["configs"] = [{"config_name": "default", "data_files": files_of}]
    return header


def croissant(out: str, settings: DatasetExportSettings, counts: dict[str, Any], description: str) -> dict[str, Any]:
    """Describe an export in Croissant 1.0: its files, and the fields of Parquet."""
    address = f"https://huggingface.co/datasets/{settings.repository}" if settings.repository else ""
    described: dict[str, Any] = {
        "@context": json.loads(files(__package__).joinpath("croissant_context.json").read_text("utf-8")),
        "@type": "sc:Dataset",
        "name": settings.name,
        "description": description,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": settings.licence,
        "version": "1.0.0",
        "keywords": ["image classification", "entity labels"],
        "citeAs": f"{settings.name}: {counts['images']} images labelled by OpenMOFI.",
        "isLiveDataset": False,
        **({"url": address} if address else {}),
    }
    if listing := file_format(settings.format).listing:
        described["distribution"] = [_object(Path(out), listing)]
        return described
    # The hub describes its repositories so; readers of a copy say where it is (`mlcroissant.Dataset(…, mapping=…)`).
    folder = {
        "@type": "cr:FileObject",
        "@id": "repo",
        "name": "repo",
        "contentUrl": address or ".",
        "encodingFormat": "git+https",
        "sha256": _OF_REPOSITORIES,
    }
    ending = file_format(settings.format).ending
    encoding = "application/x-tar" if ending == "tar" else "application/x-parquet"
    files_of = {
        "@type": "cr:FileSet",
        "@id": "shards",
        "name": "shards",
        "containedIn": {"@id": "repo"},
        "encodingFormat": encoding,
        "includes": f"data/*.{ending}",
    }
    described["distribution"] = [folder, files_of]
    if ending == "parquet":
        described["recordSet"] = [
            {
                "@type": "cr:RecordSet",
                "@id": "images",
                "name": "images",
                "field": [_field(*field) for field in _fields(settings)],
            }
        ]
    return described


def _object(out: Path, name: str) -> dict[str, Any]:
    digest = hashlib.sha256()
    with open(out / name, "rb") as file:
        while block := file.read(_READ):
            digest.update(block)
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": _ENCODINGS.get(Path(name).suffix, "text/plain"),
        "sha256": digest.hexdigest(),
    }


def _fields(settings: DatasetExportSettings) -> list[tuple[str, str, bool, str]]:
    """Return (column, data type, repeated, JSON path) of each field that is not nested."""
    plain = [(name, "sc:Text", False, "") for name in ("key", "shard", "text", "source", *PROVENANCE)]
    if settings.format == "parquet":
        return [*plain, ("path", "sc:Text", False, "")]
    images = [] if settings.images == "reference" else [("image", "sc:ImageObject", False, "bytes")]
    return [
        *images,
        ("label", "sc:Integer", False, ""),
        ("labels", "sc:Integer", True, ""),
        ("entities", "sc:Text", True, ""),
        ("probabilities", "sc:Float", True, ""),
        *plain,
    ]


def _field(column: str, kind: str, repeated: bool, path: str) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": "shards"}, "extract": {"column": column}}
    if path:
        source["transform"] = {"jsonPath": path}
    return {
        "@type": "cr:Field",
        "@id": f"images/{column}",
        "name": column,
        "dataType": kind,
        "source": source,
        **({"repeated": True} if repeated else {}),
    }


PARTS = "parts"
_log = logging.getLogger(__name__)


def export_outputs() -> Outputs:
    """Return the files that an export of any format may write."""
    listed = {pattern for style in all_formats() for pattern in style.outputs}
    return Outputs(("data/**/*", f"{PARTS}/*", "classes.json", CARD, CROISSANT, *sorted(listed)))


@dataclass(frozen=True)
class ExportStage:
    """The work of one shard; it is the engine's factory, and opens what it needs in each worker.

    Attributes:
        dataset: its folder.
        out: the folder to write; an address in a store only where `style` has an `ending`.
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

    def path(self, shard: Shard) -> str:
        """Return the path that exists once a shard is done."""
        ending = self.style.ending
        return f"{self.out}/data/{shard.name}.{ending}" if ending else f"{self.out}/{PARTS}/{shard.name}.jsonl"

    @property
    def style(self) -> FileFormat:
        """Return the format of the export."""
        return file_format(self.settings.format)

    def _export(self, folder: Folder, classes: Classes, shard: Shard) -> dict[str, Any]:
        path = self.path(shard)
        if exists(path):
            return {}
        rows = rows_of(
            folder,
            shard,
            classes,
            self.settings,
            cache_folder() / "images",
            images=self.style.images,
            by_address=self.style.by_address,
        )
        return {"images": self.style.write(Path(self.out), path, rows, classes)}


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
        out: the folder to write, or its address in a store. There formats of files and one list are written on this
            machine first, with a copy in place of each link.
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
    inputs = {"dataset": folder.manifest.fingerprint, **({"kb": kb.fingerprint} if kb else {})}
    with claimed(
        out, "dataset-export", settings.as_dict(), inputs, outputs=export_outputs(), restart=restart, stores=True
    ) as manifest:
        if manifest.finished:
            return dict(manifest.counts)
        given = settings
        if is_remote(out) and settings.images == "auto" and not file_format(settings.format).by_address:
            given = replace(settings, images="embed")  # the file that a link leads to would be stored unseen
        with nullcontext(out) if settings.format in SHARDED else written_folder(str(out), CROISSANT) as here:
            stage = ExportStage(str(dataset), str(here), given, kb)
            _write_shards(folder, stage, out, engine, progress)
            counts = _finish(folder, stage)
        finish_manifest(out, manifest, counts)
        return counts


def _write_shards(folder: Folder, stage: ExportStage, out: str | Path, engine: Engine, progress: Progress) -> None:
    missing = [shard for shard in folder.shards if not exists(stage.path(shard))]
    if not missing:
        return
    read = noted_read(folder.path)
    if read.image_root:  # which a dataset of others says, too
        progress.say(f"Images are read below {read.image_root}, as {folder.path} notes.")
    with (
        recorded(progress, out) as progress,
        engine.suited(job_of(missing, read, "cpu", None), progress).session() as session,
    ):
        progress.begin("export", len(missing))
        session.run(stage, missing, progress)


def _finish(folder: Folder, stage: ExportStage) -> dict[str, Any]:
    classes, settings, style, out = Classes.of(folder, stage.kb), stage.settings, stage.style, stage.out
    images, labels = _counted(stage, folder)
    if not images:
        raise OpenMofiError(
            f"No image of {folder.path} {style.nothing}"
            if style.nothing and not settings.min_probability
            else f"No label of {folder.path} has a probability of {settings.min_probability:g} or more.",
            "Lower --min-probability, or export another dataset, with --restart.",
        )
    if style.left_out and (others := _above(folder, settings.min_probability)[0] - images):
        _log.warning(style.left_out, others)
    if style.join:
        style.join(Path(out), partial(_records, stage, folder), classes)
    counts = {"images": images, "labels": labels, "classes": len(classes.ids)}
    write_json(
        f"{out}/classes.json",
        [
            {"class_id": number, "entity": entity, "name": name, "folder": file, "ancestors": list(chain)}
            for number, (entity, name, file, chain) in enumerate(
                zip(classes.ids, classes.unique, folder_names(classes), classes.chains, strict=True)
            )
        ],
    )
    write_card(out, folder, settings, counts)
    if not style.ending:
        shutil.rmtree(Path(out) / PARTS)
    return counts


def _records(stage: ExportStage, folder: Folder) -> Iterator[dict[str, Any]]:
    for shard in folder.shards:
        with open(stage.path(shard), encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _counted(stage: ExportStage, folder: Folder) -> tuple[int, int]:
    """Return the numbers of images and labels that are exported."""
    if stage.style.ending:
        return _above(folder, stage.settings.min_probability)
    counts = [len(record["labels"]) for record in _records(stage, folder)]
    return len(counts), sum(counts)


def _above(folder: Folder, probability: float) -> tuple[int, int]:
    """Count the images with a label of at least this probability, and those labels."""
    images = labels = 0
    for shard in folder.shards:
        for scores in folder.read(shard, ["scores"])["scores"].to_pylist():
            above = sum(score >= probability for score in scores)
            images, labels = images + (above > 0), labels + above
    return images, labels

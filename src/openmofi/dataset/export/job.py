"""`openmofi dataset export`: a dataset in a format of other tools, shard by shard on an engine; it goes on."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.dataset.export import files
from openmofi.dataset.export.card import CARD, CROISSANT, write_card
from openmofi.dataset.export.export_settings import DatasetExportSettings
from openmofi.dataset.export.rows import Classes, Row, require_files, rows_of
from openmofi.dataset.tables import Folder
from openmofi.engine import Engine, LocalEngine, Progress, Quiet
from openmofi.engine.status import recorded
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import Record, write_tar
from openmofi.pairs.read import job_of
from openmofi.storage import Outputs, Shard, atomic_path, claimed, finish_manifest, write_json
from openmofi.storage.copies import cache_folder

_GROUP = 256
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_LABEL = pa.struct(
    [("class_id", pa.int32()), ("entity", pa.string()), ("name", pa.string()), ("probability", pa.float32())]
)
PARQUET = pa.schema(
    [
        ("image", pa.binary()),
        ("path", pa.string()),
        ("source", pa.string()),
        ("shard", pa.string()),
        ("key", pa.string()),
        ("text", pa.string()),
        ("labels", pa.list_(_LABEL)),
    ]
)
"""A row an image: its encoded bytes, or where it is; its text; its labels, the most probable first."""
HUGGINGFACE = pa.schema(
    [
        ("image", _IMAGE),
        ("label", pa.int64()),
        ("labels", pa.list_(pa.int64())),
        ("entities", pa.list_(pa.string())),
        ("probabilities", pa.list_(pa.float32())),
        ("text", pa.string()),
        ("shard", pa.string()),
        ("key", pa.string()),
        ("source", pa.string()),
    ]
)
"""A row an image, as `datasets` reads it: `label` is the most probable class, `labels` are all."""


def write_parquet(path: str, rows: Iterable[Row], _: Classes) -> int:
    """Write `PARQUET`; the number of rows."""
    return _write(
        path,
        PARQUET,
        (
            {
                **_where(row),
                "image": row.image,
                "path": row.path or None,
                "labels": [asdict(label) for label in row.labels],
            }
            for row in rows
        ),
    )


def write_huggingface(path: str, rows: Iterable[Row], classes: Classes) -> int:
    """Write `HUGGINGFACE` with the features in its metadata; the number of rows."""
    metadata = {"huggingface": json.dumps({"info": {"features": features(classes)}})}
    return _write(
        path,
        HUGGINGFACE.with_metadata(metadata),
        (
            {
                **_where(row),
                "image": _image(row),
                "label": row.labels[0].class_id,
                "labels": [label.class_id for label in row.labels],
                "entities": [label.entity for label in row.labels],
                "probabilities": [label.probability for label in row.labels],
            }
            for row in rows
        ),
    )


def features(classes: Classes) -> dict[str, Any]:
    """The features of `datasets`, as it writes them into Parquet's metadata."""
    label = {"names": list(classes.unique), "_type": "ClassLabel"}

    def value(kind: str) -> dict[str, Any]:
        return {"dtype": kind, "_type": "Value"}

    def several(kind: dict[str, Any]) -> dict[str, Any]:
        return {"feature": kind, "_type": "List"}

    return {
        "image": {"_type": "Image"},
        "label": label,
        "labels": several(label),
        "entities": several(value("string")),
        "probabilities": several(value("float32")),
        **{name: value("string") for name in ("text", "shard", "key", "source")},
    }


def _where(row: Row) -> dict[str, Any]:
    return {"text": row.text, "shard": row.shard, "key": row.key, "source": row.source}


def _image(row: Row) -> dict[str, Any] | None:
    if row.image is None:
        return {"bytes": None, "path": row.path} if row.path else None
    return {"bytes": row.image, "path": f"{row.stem}.{row.extension}"}


def _write(path: str, schema: pa.Schema, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        while part := list(islice(rows, _GROUP)):
            writer.write_table(pa.Table.from_pylist(part, schema))
            count += len(part)
    return count


def write_webdataset(path: str, rows: Iterable[Row], _: Classes) -> int:
    """Write a tar of `.jpg` (or what the image is), `.txt`, `.cls` (the most probable class) and `.json`."""

    def record(row: Row) -> Record:
        about = {**row.provenance(), "class": row.labels[0].class_id, "key_of_pair": row.key}
        return Record(
            row.stem, require_files(row).image, row.text, about, {"cls": str(row.labels[0].class_id).encode()}
        )

    return write_tar(path, map(record, rows))


PARTS = "parts"
_log = logging.getLogger(__name__)
_TABLES: dict[str, tuple[str, Callable[..., int], bool]] = {
    "huggingface": ("parquet", write_huggingface, True),
    "parquet": ("parquet", write_parquet, True),
    "webdataset": ("tar", write_webdataset, False),
}
"""Format → (ending of its files, what writes one, whether its rows can name a shard and a key in place of a file)."""


def export_outputs() -> Outputs:
    """Return the files that an export of any format may write."""
    listed = {pattern for style in files.file_formats() for pattern in style.outputs}
    return Outputs(("data/**/*", f"{PARTS}/*", "classes.json", CARD, CROISSANT, *sorted(listed)))


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
        path = self.path(shard)
        if path.exists():
            return {}
        style = files.file_format(self.settings.format)
        rows = rows_of(
            folder,
            shard,
            classes,
            self.settings,
            cache_folder() / "images",
            images=style is None or style.images,
            by_address=style.by_address if style else _TABLES[self.settings.format][2],
        )
        if style is None:
            return {"images": _TABLES[self.settings.format][1](str(path), rows, classes)}
        return {"images": style.write(Path(self.out), str(path), rows, classes)}


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
    with claimed(
        out, "dataset-export", settings.as_dict(), inputs, outputs=export_outputs(), restart=restart
    ) as manifest:
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
    classes, settings, style = Classes.of(folder, stage.kb), stage.settings, files.file_format(stage.settings.format)
    images, labels = _counted(stage, folder)
    if not images:
        raise OpenMofiError(
            f"No image of {folder.path} {style.nothing}"
            if style and style.nothing and not settings.min_probability
            else f"No label of {folder.path} has a probability of {settings.min_probability:g} or more.",
            "Lower --min-probability, or export another dataset, with --restart.",
        )
    if style and style.left_out and (others := _above(folder, settings.min_probability)[0] - images):
        _log.warning(style.left_out, others)
    if style:
        style.join(out, partial(_records, stage, folder), classes)
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
    if style:
        shutil.rmtree(out / PARTS)
    return counts


def _records(stage: ExportStage, folder: Folder) -> Iterator[dict[str, Any]]:
    for shard in folder.shards:
        with open(stage.path(shard), encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _counted(stage: ExportStage, folder: Folder) -> tuple[int, int]:
    """Return the numbers of images and labels that are exported."""
    if stage.settings.format not in _TABLES:
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

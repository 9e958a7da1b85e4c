"""The card of an exported dataset, with YAML that the hub reads, and its metadata in Croissant 1.0 (mlcommons.org)."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import yaml

from openmofi.dataset.origin import how_labelled
from openmofi.dataset.tables import Folder
from openmofi.plugins.dataset_export.export_settings import DatasetExportSettings
from openmofi.plugins.dataset_export.formats import file_format
from openmofi.storage import write_json, write_text

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


def write_card(out: Path, dataset: Folder, settings: DatasetExportSettings, counts: dict[str, Any]) -> None:
    """Write `README.md` and `croissant.json`."""
    labels = how_labelled(dataset.path)
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string(files(__package__).joinpath("card.md.j2").read_text("utf-8"))
    header = yaml.safe_dump(_header(settings, counts), sort_keys=False, allow_unicode=True).strip()
    write_text(out / CARD, template.render(header=header, settings=settings, counts=counts, labels=labels))
    write_json(out / CROISSANT, croissant(out, settings, counts, " ".join(labels)))


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


def croissant(out: Path, settings: DatasetExportSettings, counts: dict[str, Any], description: str) -> dict[str, Any]:
    """Croissant 1.0 of an export: its files, and of Parquet its fields."""
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
        described["distribution"] = [_object(out, listing)]
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
    """(column, data type, repeated, JSON path) of what is not nested."""
    plain = [(name, "sc:Text", False, "") for name in ("key", "shard", "text", "source")]
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

"""`openmofi.build_dataset`, `openmofi.audit` and `openmofi.export_dataset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from openmofi.api.given import Folder, kb_of, place_of, public, verdicts_of
from openmofi.config import changed
from openmofi.dataset.dataset_settings import DatasetSettings
from openmofi.dataset.export.export_settings import DatasetExportSettings
from openmofi.progress import shown_progress

if TYPE_CHECKING:
    from openmofi.api.changes import BuildDatasetChanges, ExportDatasetChanges
    from openmofi.dataset.audit.audit import Audit
    from openmofi.dataset.objects import Dataset, Labels
    from openmofi.dataset.report.page import Corrected
    from openmofi.encoders import EncoderLike
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase


@public(DatasetSettings)
def build_dataset(
    labels: Labels | Folder,
    *,
    out: Folder,
    kb: KnowledgeBase | Folder | None = None,
    settings: DatasetSettings | None = None,
    exclude: Sequence[Folder] = (),
    exclude_bits: int = 3,
    exclude_cosine: float | str | None = "auto",
    encoder: EncoderLike | None = None,
    report: bool = True,
    restart: bool = False,
    **changes: Unpack[BuildDatasetChanges],
) -> Dataset:
    """Build a labelled dataset: rare entities and near-duplicates out, vocabulary, card, report; no image is copied.

    Args:
        labels: folder of labels, or its address. In Python also what `label` returned.
        out: folder of the dataset.
        kb: knowledge base: names, descriptions and types of the entities.
        exclude: leave out copies of an evaluation set's images, `[NAME=]PATH`: a folder of images or class folders,
            shards, a Parquet table with a column `phash`, or labels. May be given several times.
        exclude_bits: with `exclude`: perceptual hashes of copies differ in at most so many bits.
        exclude_cosine: with `exclude`: least cosine of the features of copies. `auto`: from which 95% of recompressed,
            halved and cropped copies are found, for each set. `off`: hashes alone.
        encoder: with `exclude`: gives the features; by default the one that the pairs were labelled with.
        report: write report.html.

    Raises:
        UsageError: a setting is unknown or out of its range, or two evaluation sets have one name.
        OpenMofiError: the labels are unfinished or damaged, an evaluation set cannot be read, nothing is left, or `out`
            was made with other settings.
    """
    from openmofi import dataset
    from openmofi.dataset.objects import Dataset

    dataset.build_dataset(
        place_of(labels),
        out,
        changed(settings or DatasetSettings(), changes),
        kb=kb_of(kb) if kb else None,
        exclusion=dataset.Exclusion.of(list(map(str, exclude)), exclude_bits, exclude_cosine),
        encoder=encoder,
        report=report,
        restart=restart,
    )
    return Dataset.open(out)


@public()
def audit(
    labels: Labels | Dataset | Folder,
    truth: Folder,
    *,
    at_recall: float = 0.75,
    split: str | None = None,
    kb: KnowledgeBase | Folder | None = None,
) -> Audit | Corrected:
    """Compare labels, or a dataset, with the truth: precision, recall, calibration, the text-only linker beside them.

    Args:
        labels: folder of labels or of a dataset. In Python also what `label` or `build_dataset` returned.
        truth: what images show: a CSV, TSV, JSON-lines or Parquet table with the columns key and entity, and any of the
            others of `openmofi.schema.TRUTH`. Or verdicts on labels (the file of `openmofi label audit`, an index):
            then the answer is `Labels.corrected`'s.
        at_recall: recall at which precision is compared with the text-only linker's.
        split: only the pairs of this split of the truth.
        kb: knowledge base for the names of entities in the truth; by default the labels' own.

    Raises:
        OpenMofiError: the truth cannot be read, or does not match.
    """
    from openmofi.dataset.audit.audit import audit
    from openmofi.dataset.objects import Labels
    from openmofi.review.verdicts import holds_verdicts

    if (Path(truth) / "index.db").exists() or holds_verdicts(truth):
        opened = Labels.open(place_of(labels))
        return opened.corrected(verdicts_of(truth), kb=kb_of(kb) if kb else None)
    return audit(place_of(labels), truth, at_recall=at_recall, split=split, kb=kb_of(kb) if kb else None)


@public(
    DatasetExportSettings,
    without=(
        "repository",
        "max_text_chars",
        "max_image_bytes",
        "on_damage",
        "max_unpack_ratio",
        "text_column",
        "url_column",
    ),
)
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
        out: the folder to write.
        format: what opens it: `huggingface`, `webdataset`, `parquet`, `coco`, `imagefolder`, `fiftyone`,
            `quickstatements`, `xmp`, or what a package adds; see docs/dataset-export.md.
        name: for the card; by default the folder's name.
        kb: gives what is above a class, for COCO's supercategories and hierarchical keywords.
        push: OWNER/NAME of a dataset repository on the Hugging Face hub that the folder is uploaded to.

    Returns:
        `images`, `labels` and `classes` written.

    Raises:
        UsageError: the format needs what the settings or the pairs do not give.
        OpenMofiError: the dataset is unfinished or damaged, a shard has changed, nothing is left, `out` was made with
            other settings, or the hub refuses.
    """
    from openmofi.dataset.export.job import export_dataset
    from openmofi.engine import engine_named
    from openmofi.storage.hub import push as push_folder

    name = name or Path(str(place_of(dataset))).name
    settings = changed(DatasetExportSettings(format, name=name, repository=push), changes)
    with shown_progress(progress) as shown:
        counts = export_dataset(
            place_of(dataset),
            out,
            settings,
            kb=None if kb is None else kb_of(kb),
            engine=engine_named(engine),
            progress=shown,
            restart=restart,
        )
    if push:
        push_folder(out, push, kind="dataset", private=private)
    return counts

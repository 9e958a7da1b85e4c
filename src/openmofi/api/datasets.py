"""`openmofi.build_dataset` and `openmofi.audit`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from openmofi.api.given import Folder, kb_of, place_of, public, verdicts_of
from openmofi.config import changed
from openmofi.dataset.dataset_settings import DatasetSettings

if TYPE_CHECKING:
    from openmofi.api.changes import BuildDatasetChanges
    from openmofi.dataset.audit.audit import Audit
    from openmofi.dataset.objects import Dataset, Labels
    from openmofi.dataset.report.page import Corrected
    from openmofi.encoders import EncoderLike
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

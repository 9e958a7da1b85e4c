"""`openmofi.build_dataset`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from openmofi.api.given import Folder, kb_of, place_of, public
from openmofi.config import changed
from openmofi.dataset.dataset_settings import DatasetSettings
from openmofi.progress import shown_progress

if TYPE_CHECKING:
    from openmofi.api.changes import BuildDatasetChanges
    from openmofi.dataset.objects import Dataset, Labels
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
    engine: str = "auto",
    restart: bool = False,
    progress: bool | Progress | None = None,
    **changes: Unpack[BuildDatasetChanges],
) -> Dataset:
    """Build a labelled dataset: rare entities and near-duplicates out, vocabulary, card, report; no image is copied.

    Args:
        labels: folder of labels, or its address. In Python also what `label` returned.
        out: folder of the dataset, or its address in a store.
        kb: knowledge base: names, descriptions and types of the entities.
        exclude: leave out copies of an evaluation set's images, `[NAME=]PATH`: a folder of images or class folders,
            shards, a Parquet table with a column `phash`, or labels. May be given several times.
        exclude_bits: with `exclude`: perceptual hashes of copies differ in at most so many bits.
        exclude_cosine: with `exclude`: least cosine of the features of copies. `auto`: from which 95% of recompressed,
            halved and cropped copies are found, for each set. `off`: hashes alone.
        encoder: with `exclude` or `semantic_duplicates`: gives the features; by default they are the label job's own.
        report: write report.html.

    Raises:
        UsageError: a setting is unknown or out of its range, or two evaluation sets have one name.
        OpenMofiError: the labels are unfinished or damaged, an evaluation set cannot be read, features are gone,
            nothing is left, or `out` was made with other settings.
    """
    from openmofi import dataset
    from openmofi.dataset.objects import Dataset
    from openmofi.engine import engine_named

    settings = changed(settings or DatasetSettings(), changes)
    with shown_progress(progress) as console:
        dataset.build_dataset(
            place_of(labels),
            out,
            settings,
            kb=kb_of(kb, console) if kb else None,
            exclusion=dataset.Exclusion.of(list(map(str, exclude)), exclude_bits, exclude_cosine),
            encoder=encoder,
            report=report,
            engine=engine_named(engine),
            progress=console,
            restart=restart,
        )
    return Dataset.open(out)

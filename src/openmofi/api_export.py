"""The front door of exports: encoders and datasets for other tools; see `openmofi.api`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from openmofi.errors import UsageError
from openmofi.given import Folder, Pairs, encoder_of, kb_of, place_of
from openmofi.progress import shown_progress

if TYPE_CHECKING:
    from openmofi.dataset.objects import Dataset
    from openmofi.encoders import EncoderLike
    from openmofi.encoders.export.agreement import Agreement
    from openmofi.encoders.export.checkpoint.card import CardFacts
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase


def card_facts(
    *, name: str = "", licence: str = "unknown", datasets: Sequence[str] = (), results: Sequence[Path] = ()
) -> CardFacts:
    """What the model card of `export` says beside the encoder.

    Args:
        name: of the model.
        licence: by its name on the hub, such as `apache-2.0`.
        datasets: what it was trained on: folders of `build_dataset`, whose labels the card describes, or names.
        results: files that `evaluate` wrote.

    Raises:
        OpenMofiError: a dataset or a result cannot be read.
    """
    from openmofi.dataset.origin import how_labelled
    from openmofi.encoders.export.checkpoint.card import CardFacts, read_metrics

    folders = [place for place in datasets if Path(place).is_dir()]
    names = tuple(Path(place).resolve().name if place in folders else place for place in datasets)
    return CardFacts(
        name, licence, names, tuple(line for place in folders for line in how_labelled(place)), read_metrics(results)
    )


def export(
    encoder: EncoderLike,
    out: Folder,
    *,
    format: str = "onnx",
    precision: Literal["fp32", "bf16", "int8"] = "fp32",
    images: Pairs = (),
    max_loss: float = 0.01,
    card: CardFacts | None = None,
    push: str = "",
    private: bool = False,
    restart: bool = False,
) -> Agreement:
    """Export an encoder: as graphs that open as `onnx:OUT` or `openvino:OUT`, or as a checkpoint of a library.

    Args:
        encoder: an `Encoder` or a spec; written and compared on the CPU.
        out: the folder to write.
        format: `onnx`, `openvino`; `open_clip`, `timm` or `transformers`, whose own functions open the folder.
        precision: `fp32`, `bf16` (OpenVINO) or `int8` (graphs).
        images: pairs to compare and calibrate on; generated images where there are none.
        max_loss: greatest 1 − mean cosine between original and export; above it nothing is written. Checkpoints of
            libraries lose at most 0.001.
        card: what the model card of a checkpoint says, see `openmofi.encoders.export.checkpoint.card`.
        push: OWNER/NAME of a repository on the Hugging Face hub that a checkpoint is uploaded to.
        private: of a repository that is made for it.
        restart: see `openmofi.api`.

    Raises:
        UsageError: the encoder's towers are not of the library, its heads do not fold, or graphs are to be pushed.
        OpenMofiError: the export is further from the original, `out` was made with other settings, or the hub refuses.
    """
    from openmofi.encoders.export.agreement import samples_of
    from openmofi.encoders.export.job import LIBRARIES, ExportSettings, export_encoder

    settings, opened = ExportSettings(format, precision, max_loss), encoder_of(encoder, "cpu")
    patterns = [images] if isinstance(images, str | Path) else list(images)
    samples = samples_of(
        [str(pattern) for pattern in patterns],
        opened.preprocessing.size,
        decode_size=opened.preprocessing.decode_size if format not in LIBRARIES else None,
    )
    if format not in LIBRARIES:
        if push or card:
            raise UsageError(
                f"An export for {format} has no card and is not pushed.",
                f"Use one of the formats {', '.join(LIBRARIES)}.",
            )
        return export_encoder(opened, Path(out), settings, samples, restart=restart)
    from openmofi.encoders.export.checkpoint.card import CardFacts
    from openmofi.encoders.export.checkpoint.job import export_checkpoint
    from openmofi.storage.hub import push as push_folder

    agreement = export_checkpoint(opened, Path(out), settings, samples, card or CardFacts(), restart=restart)
    if push:
        push_folder(out, push, private=private)
    return agreement


def export_dataset(
    dataset: Dataset | Folder,
    out: Folder,
    *,
    format: str,
    images: Literal["auto", "embed", "reference"] = "auto",
    min_probability: float = 0.0,
    kb: KnowledgeBase | Folder | None = None,
    licence: str = "unknown",
    name: str = "",
    image_column: str | Sequence[str] = "",
    key_column: str | Sequence[str] = "",
    image_root: str | Path = "",
    push: str = "",
    private: bool = False,
    engine: str = "auto",
    restart: bool = False,
    progress: bool | Progress | None = None,
) -> dict[str, Any]:
    """Write a dataset in a format that other tools open; goes on where an earlier call stopped.

    Args:
        dataset: of `build_dataset`; its shards of pairs must be where they were.
        out: the folder to write.
        format: `huggingface`, `webdataset`, `parquet`, `coco`, `fiftyone`, `imagefolder`, `quickstatements` or `xmp`.
        images: `auto` refers to images that are files of their own and takes the others along, `embed` takes all
            along, `reference` none.
        min_probability: labels below it are left out.
        kb: gives what is above a class, for COCO's supercategories and hierarchical keywords.
        licence, name: for the card.
        image_column, key_column, image_root: of tables of pairs, as for `label`.
        push: OWNER/NAME of a dataset repository on the Hugging Face hub that the folder is uploaded to.
        private: of a repository that is made for it.
        engine: as for `label`.
        restart, progress: see `openmofi.api`.

    Returns:
        `images`, `labels` and `classes` written.

    Raises:
        UsageError: the format needs what the settings or the pairs do not give.
        OpenMofiError: the dataset is unfinished or damaged, a shard has changed, nothing is left, `out` was made with
            other settings, or the hub refuses.
    """
    from openmofi.dataset.export.job import export_dataset as run_export
    from openmofi.dataset.export.rows import DatasetExportSettings
    from openmofi.engine import engine_named
    from openmofi.pairs import ReadSettings
    from openmofi.pairs.formats.columns import column_setting
    from openmofi.storage.hub import push as push_folder

    read = ReadSettings(
        image_column=column_setting(image_column), key_column=column_setting(key_column), image_root=str(image_root)
    )
    settings = DatasetExportSettings(
        format, images, min_probability, read, licence, name or Path(str(place_of(dataset))).name, push
    )
    with shown_progress(progress) as shown:
        counts = run_export(
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

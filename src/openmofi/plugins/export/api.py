"""`openmofi.export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from openmofi.api.given import Folder, Pairs, encoder_of, public
from openmofi.config import changed
from openmofi.errors import UsageError
from openmofi.plugins.export.export_settings import LIBRARIES, ExportSettings

if TYPE_CHECKING:
    from openmofi.api.changes import ExportChanges
    from openmofi.encoders import EncoderLike
    from openmofi.plugins.export.agreement import Agreement
    from openmofi.plugins.export.checkpoint import CardFacts


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
    from openmofi.plugins.export.checkpoint import CardFacts, read_metrics

    folders = [place for place in datasets if Path(place).is_dir()]
    names = tuple(Path(place).resolve().name if place in folders else place for place in datasets)
    return CardFacts(
        name, licence, names, tuple(line for place in folders for line in how_labelled(place)), read_metrics(results)
    )


@public(ExportSettings)
def export(
    encoder: EncoderLike,
    out: Folder,
    *,
    settings: ExportSettings | None = None,
    images: Pairs = (),
    card: CardFacts | None = None,
    push: str = "",
    private: bool = False,
    restart: bool = False,
    **changes: Unpack[ExportChanges],
) -> Agreement:
    """Export an encoder: as graphs that open as `onnx:OUT` or `openvino:OUT`, or as a checkpoint of a library.

    The encoder is written and compared on the CPU.

    Args:
        out: the folder to write.
        images: real images (with texts) to compare and calibrate on: shards or folders as `label` takes them; generated
            images where not given.
        card: what the model card of a checkpoint says, see `openmofi.plugins.export.checkpoint`.
        push: OWNER/NAME of a repository on the Hugging Face hub that a checkpoint is uploaded to.

    Raises:
        UsageError: the encoder's towers are not of the library, its heads do not fold, or graphs are to be pushed.
        OpenMofiError: the export is further from the original, `out` was made with other settings, or the hub refuses.
    """
    from openmofi.plugins.export.agreement import samples_of
    from openmofi.plugins.export.job import export_encoder

    settings, opened = changed(settings or ExportSettings(), changes), encoder_of(encoder, "cpu")
    library = settings.format in LIBRARIES
    samples = samples_of(
        [str(pattern) for pattern in ([images] if isinstance(images, str | Path) else images)],
        opened.preprocessing.size,
        decode_size=None if library else opened.preprocessing.decode_size,
    )
    if not library:
        if push or card:
            raise UsageError(
                f"An export for {settings.format} has no card and is not pushed.",
                f"Use one of the formats {', '.join(LIBRARIES)}.",
            )
        return export_encoder(opened, Path(out), settings, samples, restart=restart)
    from openmofi.plugins.export.checkpoint import CardFacts, export_checkpoint
    from openmofi.storage.hub import push as push_folder

    agreement = export_checkpoint(opened, Path(out), settings, samples, card or CardFacts(), restart=restart)
    if push:
        push_folder(out, push, private=private)
    return agreement

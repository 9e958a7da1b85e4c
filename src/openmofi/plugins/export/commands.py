"""`openmofi.export` and `openmofi export`: graphs and checkpoints, checked against the original."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

import typer

from openmofi.api.encoders import load_encoder
from openmofi.api.given import Folder, Pairs, encoder_of, public
from openmofi.cli.command import print_json
from openmofi.cli.options import OUT_STORE, Call, Json, made_of
from openmofi.config import changed
from openmofi.errors import UsageError
from openmofi.plugins.export import LIBRARIES, ExportSettings
from openmofi.storage import is_remote, require_local

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
    from openmofi.dataset.collect import how_labelled
    from openmofi.plugins.export.checkpoint import CardFacts, read_metrics

    folders = [dataset for dataset in datasets if Path(dataset).is_dir()]
    names = tuple(Path(dataset).resolve().name if dataset in folders else dataset for dataset in datasets)
    return CardFacts(
        name,
        licence,
        names,
        tuple(line for dataset in folders for line in how_labelled(dataset)),
        read_metrics(results),
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
        out: the folder to write, or its address in a store.
        images: real images (with texts) to compare and calibrate on: shards or folders as `label` takes them; generated
            images where not given.
        card: what the model card of a checkpoint says, see `openmofi.plugins.export.checkpoint`.
        push: OWNER/NAME of a repository on the Hugging Face hub that a checkpoint is uploaded to.

    Raises:
        UsageError: the encoder's towers are not of the library, its heads do not fold, or graphs or what
            lies in a store are to be pushed.
        OpenMofiError: the export is further from the original, `out` was made with other settings, or the hub refuses.
    """
    from openmofi.plugins.export.agreement import samples_of
    from openmofi.plugins.export.job import export_encoder

    if push:
        require_local(out)
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
        return export_encoder(opened, out, settings, samples, restart=restart)
    from openmofi.plugins.export.checkpoint import CardFacts, export_checkpoint
    from openmofi.plugins.export.hub import push as push_folder

    agreement = export_checkpoint(opened, out, settings, samples, card or CardFacts(), restart=restart)
    if push:
        push_folder(out, push, private=private)
    return agreement


@made_of(
    export,
    encoder=Annotated[str, typer.Argument(metavar="ENCODER")],
    out=OUT_STORE,
    images=Annotated[list[str] | None, typer.Option(metavar="SHARDS")],
    card=None,
)
def export_command(
    call: Call,
    encoder: str,
    out: str,
    format: str,
    precision: Literal["fp32", "bf16", "int8"],
    images: list[str] | None,
    push: str,
    name: Annotated[str, typer.Option(help="For the card of a checkpoint: the model's name.")] = "",
    licence: Annotated[
        str, typer.Option("--license", help="For the card: the licence by its name on the hub, such as apache-2.0.")
    ] = "unknown",
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATASET",
            help="For the card: what it was trained on, a folder of openmofi dataset build or a name on the hub; may "
            "be repeated.",
        ),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="For the card: a result of openmofi eval -o; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Export an encoder: graphs open as onnx:DIR or openvino:DIR; checkpoints by open_clip, timm or transformers."""
    # Checked before the encoder is opened.
    library = ExportSettings(format, precision).format in LIBRARIES
    card = card_facts(name=name, licence=licence, datasets=dataset or (), results=results or ()) if library else None
    opened = load_encoder(encoder, device="cpu")
    agreement = call(encoder=opened, card=card)
    beside = [] if library else [path.name for path in opened.companions.files]
    here = "FOLDER" if is_remote(out) else out  # libraries open what was copied there
    opens = {
        "open_clip": f"open_clip:local-dir:{here}",
        "transformers": f"hf:{here}",
        "timm": f"timm.create_model('local-dir:{here}', pretrained=True)",
    }.get(format, f"{format}:{out}")
    if as_json:
        print_json(agreement.as_dict() | {"written": str(out), "spec": opens, "beside": beside})
        return
    for line in _lines(agreement, generated=not images):
        typer.echo(line)
    if beside:
        typer.echo(f"put beside it: {', '.join(beside)}")
    typer.echo(f"written: {out}; opens as {opens}" + (f"; pushed to {push}" if push else ""))


def _lines(agreement: Any, *, generated: bool) -> list[str]:
    lines = [
        f"compared on: {agreement.source}" + (" (give real ones with --images)" if generated else ""),
        f"cosine of images: mean {agreement.image_mean:.5f}, least {agreement.image_min:.5f}; "
        f"nearest neighbours kept: {agreement.neighbours:.1%}",
    ]
    if agreement.text_mean is not None:
        lines.append(
            f"cosine of {agreement.texts} texts: mean {agreement.text_mean:.5f}, least {agreement.text_min:.5f}"
        )
    if agreement.map_before is not None:
        lines.append(
            f"mAP of texts that look for their image: {agreement.map_before:.4f} → {agreement.map_after:.4f} "
            f"({agreement.map_after - agreement.map_before:+.4f})"
        )
    return lines

"""`openmofi export`: graphs and checkpoints, checked against the original."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from openmofi.api.encoders import load_encoder
from openmofi.cli.command import print_json
from openmofi.cli.options import Call, Json, made_of
from openmofi.plugins.export import api
from openmofi.plugins.export.export_settings import LIBRARIES, ExportSettings


@made_of(
    api.export,
    encoder=Annotated[str, typer.Argument(metavar="ENCODER")],
    images=Annotated[list[str] | None, typer.Option(metavar="SHARDS")],
    card=None,
)
def export(
    call: Call,
    encoder: str,
    out: Path,
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
    card = (
        api.card_facts(name=name, licence=licence, datasets=dataset or (), results=results or ()) if library else None
    )
    opened = load_encoder(encoder, device="cpu")
    agreement = call(encoder=opened, card=card)
    beside = [] if library else [path.name for path in opened.companions.files]
    opens = {
        "open_clip": f"open_clip:local-dir:{out}",
        "transformers": f"hf:{out}",
        "timm": f"timm.create_model('local-dir:{out}', pretrained=True)",
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

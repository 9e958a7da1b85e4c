"""`openmofi export`: an encoder as graphs or as a checkpoint of a library, checked against the original."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from openmofi.cli.command import Restart, output_path, print_json


def export(
    spec: Annotated[str, typer.Argument(metavar="ENCODER", help="As openmofi encoder info.")],
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, metavar="DIR", help="The folder to write.")],
    style: Annotated[
        Literal["onnx", "openvino", "open_clip", "timm", "transformers"],
        typer.Option("--format", help="What runs it: graphs, or a checkpoint of a library."),
    ] = "onnx",
    precision: Annotated[Literal["fp32", "bf16", "int8"], typer.Option(help="bf16: openvino only.")] = "fp32",
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="SHARDS",
            help="Real images (with texts) to compare and calibrate on: shards or "
            "folders as of openmofi label; may be repeated. Without, generated images.",
        ),
    ] = None,
    max_loss: Annotated[
        float,
        typer.Option(
            help="Greatest 1 − mean cosine between original and export; above it nothing is written. Of a library's "
            "checkpoint at most 0.001."
        ),
    ] = 0.01,
    name: Annotated[str, typer.Option(help="For the card of a checkpoint: the model's name.")] = "",
    licence: Annotated[
        str, typer.Option("--license", help="For the card: the licence by its name on the hub, such as apache-2.0.")
    ] = "unknown",
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            metavar="DATASET",
            help="For the card: what it was trained on, a folder of openmofi dataset "
            "build or a name on the hub; may be repeated.",
        ),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option("--results", metavar="FILE", help="For the card: a result of openmofi eval -o; may be repeated."),
    ] = None,
    push: Annotated[
        str,
        typer.Option(metavar="OWNER/NAME", help="Upload the checkpoint to this repository of the Hugging Face hub."),
    ] = "",
    private: Annotated[bool, typer.Option(help="With --push: a repository that is made is private.")] = False,
    restart: Restart = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Export an encoder: graphs open as onnx:DIR or openvino:DIR; checkpoints by open_clip, timm or transformers."""
    from openmofi import api, api_export

    libraries = ("open_clip", "timm", "transformers")
    card = (
        api_export.card_facts(name=name, licence=licence, datasets=dataset or (), results=results or ())
        if style in libraries
        else None
    )
    encoder = api.load_encoder(spec, device="cpu")
    agreement = api_export.export(
        encoder,
        out,
        format=style,
        precision=precision,
        images=images or (),
        max_loss=max_loss,
        card=card,
        push=push,
        private=private,
        restart=restart,
    )
    beside = [] if style in libraries else [path.name for path in encoder.companions.files]
    opens = (
        f"open_clip:local-dir:{out}"
        if style == "open_clip"
        else f"hf:{out}"
        if style == "transformers"
        else f"timm.create_model('local-dir:{out}', pretrained=True)"
        if style == "timm"
        else f"{style}:{out}"
    )
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

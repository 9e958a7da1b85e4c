"""`openmofi export`: an encoder as a folder for ONNX Runtime or OpenVINO, checked against the original."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from openmofi.cli.command import Restart, output_path, print_json


def export(
    spec: Annotated[str, typer.Argument(metavar="ENCODER", help="As openmofi encoder info.")],
    out: Annotated[Path, typer.Option("-o", "--out", parser=output_path, metavar="DIR", help="The folder to write.")],
    style: Annotated[Literal["onnx", "openvino"], typer.Option("--format", help="What runs it.")] = "onnx",
    precision: Annotated[Literal["fp32", "bf16", "int8"], typer.Option(help="bf16: openvino only.")] = "fp32",
    images: Annotated[list[str] | None, typer.Option(
        "--images", metavar="SHARDS", help="Real images (with texts) to compare and calibrate on: shards or "
        "folders as of openmofi label; may be repeated. Without, generated images.")] = None,
    max_loss: Annotated[float, typer.Option(
        help="Greatest 1 − mean cosine between original and export; above it nothing is written.")] = 0.01,
    restart: Restart = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Export an encoder; opens as onnx:DIR or openvino:DIR anywhere an encoder is taken."""
    from openmofi import api

    encoder = api.load_encoder(spec, device="cpu")
    agreement = api.export(encoder, out, format=style, precision=precision, images=images or (), max_loss=max_loss,
                           restart=restart)
    beside = [path.name for path in encoder.companions.files]
    if as_json:
        print_json(agreement.as_dict() | {"written": str(out), "spec": f"{style}:{out}", "beside": beside})
        return
    for line in _lines(agreement, generated=not images):
        typer.echo(line)
    if beside:
        typer.echo(f"put beside it: {', '.join(beside)}")
    typer.echo(f"written: {out}; opens as {style}:{out}")


def _lines(agreement: Any, *, generated: bool) -> list[str]:
    lines = [f"compared on: {agreement.source}" + (" (give real ones with --images)" if generated else ""),
             f"cosine of images: mean {agreement.image_mean:.5f}, least {agreement.image_min:.5f}; "
             f"nearest neighbours kept: {agreement.neighbours:.1%}"]
    if agreement.text_mean is not None:
        lines.append(f"cosine of {agreement.texts} texts: mean {agreement.text_mean:.5f}, "
                     f"least {agreement.text_min:.5f}")
    if agreement.map_before is not None:
        lines.append(f"mAP of texts that look for their image: {agreement.map_before:.4f} → {agreement.map_after:.4f} "
                     f"({agreement.map_after - agreement.map_before:+.4f})")
    return lines

"""`openmofi export`: an encoder as a folder for ONNX Runtime or OpenVINO, checked against the original."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def export(
    spec: Annotated[str, typer.Argument(metavar="ENCODER", help="As openmofi encoder info.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The folder to write; must be new.")],
    style: Annotated[Literal["onnx", "openvino"], typer.Option("--format", help="What runs it.")] = "onnx",
    precision: Annotated[Literal["fp32", "bf16", "int8"], typer.Option(help="bf16: openvino only.")] = "fp32",
    pictures: Annotated[list[str] | None, typer.Option(
        "--images", metavar="SHARDS", help="Real images (with texts) to compare and calibrate on: shards or "
        "folders as of openmofi label; may be repeated. Without, generated images.")] = None,
    max_loss: Annotated[float, typer.Option(
        help="Greatest 1 − mean cosine between original and export; above it nothing is written.")] = 0.01,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Export an encoder; opens as onnx:DIR or openvino:DIR anywhere an encoder is taken."""
    from openmofi.encoders import open_encoder
    from openmofi.encoders.export.settings import ExportSettings

    settings = ExportSettings(style, precision, max_loss)
    encoder = open_encoder(spec)
    from openmofi.encoders.export.agreement import samples_of
    from openmofi.encoders.export.job import export_encoder

    preprocessing = encoder.preprocessing
    samples = samples_of(pictures or [], preprocessing.size, decode_size=preprocessing.decode_size)
    found = export_encoder(encoder, out, settings, samples)
    beside = [path.name for path in encoder.companions.files]
    if as_json:
        typer.echo(json.dumps(found.as_dict() | {"written": str(out), "spec": f"{style}:{out}",
                                                "beside": beside}, indent=2, ensure_ascii=False))
        return
    for line in _told(found, generated=not pictures):
        typer.echo(line)
    if beside:
        typer.echo(f"put beside it: {', '.join(beside)}")
    typer.echo(f"written: {out}; opens as {style}:{out}")


def _told(found: Any, *, generated: bool) -> list[str]:
    lines = [f"compared on: {found.source}" + (" (give real ones with --images)" if generated else ""),
             f"cosine of images: mean {found.image_mean:.5f}, least {found.image_min:.5f}; nearest neighbours kept: "
             f"{found.neighbours:.1%}"]
    if found.text_mean is not None:
        lines.append(f"cosine of {found.texts} texts: mean {found.text_mean:.5f}, least {found.text_min:.5f}")
    if found.map_before is not None:
        lines.append(f"mAP of texts that look for their image: {found.map_before:.4f} → {found.map_after:.4f} "
                     f"({found.map_after - found.map_before:+.4f})")
    return lines

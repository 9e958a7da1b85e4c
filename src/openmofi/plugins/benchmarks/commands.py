"""`openmofi eval mteb`."""

from pathlib import Path
from typing import Annotated

import typer

from openmofi.cli.command import output_path, print_json
from openmofi.cli.options import Json


def mteb(
    tasks: Annotated[list[str], typer.Argument(metavar="TASKS...", help="Tasks or benchmarks of mteb: 'MIEB(lite)'.")],
    encoder: Annotated[str, typer.Option("--encoder", metavar="SPEC", help="As openmofi encoder info.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", parser=output_path, metavar="DIR", help="Write a JSON of each result there."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images or texts of a forward pass.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = "auto",
    precision: Annotated[str, typer.Option(help="Of the encoder's towers: fp32, bf16 or fp16.")] = "fp32",
    as_json: Json = False,
) -> None:
    """Run image tasks of mteb (openmofi[mteb]), which downloads their data itself; compare reads the results."""
    from openmofi.encoders import open_encoder
    from openmofi.plugins.benchmarks.mteb import run_tasks

    results = run_tasks(
        open_encoder(encoder, device=device, precision=precision), tasks, out=out, batch_size=batch_size
    )
    if as_json:
        print_json([result.as_dict() for result in results])
        return
    for result in results:
        typer.echo(
            f"{result.metrics[result.headline]:.4f}  {result.headline} "
            f"({result.data['split']}, {result.data['subset']})"
        )

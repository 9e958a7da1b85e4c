"""`openmofi jobs`: look at jobs that run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from openmofi.cli.command import input_path, print_json

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Look at jobs that run."""


@app.command("status")
def status(
    out: Annotated[Path, typer.Argument(parser=input_path, metavar="OUT", help="Folder that a job writes.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how far a job is, what it said, and which shards failed."""
    from openmofi.engine.status import JobStatus
    from openmofi.storage import read_manifest
    from openmofi.storage.folder_lock import holder_of

    manifest, live, holder = read_manifest(out), JobStatus.read(out), holder_of(out)
    failed = manifest.counts.get("failed", {})
    state = "running" if holder else "finished" if manifest.finished and not failed else "incomplete"
    if as_json:
        print_json({"state": state, "kind": manifest.kind, "writer": holder, "failed": failed,
                    "live": {**asdict(live), "rows_per_second": live.rows_per_second,
                             "seconds_left": live.seconds_left} if live else None})
        return
    typer.echo(f"{out}: {manifest.kind.replace('_', ' ')}, {state}{f', by {holder}' if holder else ''}")
    if live:
        left = f", {live.seconds_left:,.0f} s left" if live.seconds_left is not None else ""
        typer.echo(f"{live.stage}: {live.done:,}/{live.total:,}, {live.rows_per_second:,.0f} rows/s{left}")
        typer.echo("\n".join(f"  {message}" for message in live.messages))
    for shard, reason in failed.items():
        typer.echo(f"failed: {shard}: {reason}")
    if state == "incomplete":
        typer.echo("Nobody writes it. Start the command that made it again: it goes on, and tries what failed.")

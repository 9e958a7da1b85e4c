"""`openmofi jobs`: look at jobs that run, and go on with what failed."""

from __future__ import annotations

import os
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmofi.cli.command import command, group, input_place, print_json
from openmofi.errors import OpenMofiError
from openmofi.terminal import visible

if TYPE_CHECKING:
    from openmofi.engine.status import JobStatus
    from openmofi.storage import Manifest

app = group("jobs", "Look at jobs that run; go on with what failed.")
Out = Annotated[
    str, typer.Argument(parser=input_place, metavar="OUT", help="Folder that a job writes, or its address.")
]


@app.callback()
def _group() -> None:
    """Look at jobs that run, and go on with what failed."""


@command(app, "status")
def status(out: Out, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say how far a job is, what each worker does, what it said, which shards failed, and which tasks were slowest."""
    from openmofi.engine.status import JobStatus
    from openmofi.storage import read_manifest

    manifest, live, holder = read_manifest(out), JobStatus.read(out), _holder(out)
    state = _state(manifest, holder)
    failed = {**manifest.counts.get("failed", {}), **(live.failed if live else {})}
    if as_json:
        print_json(
            {
                "state": state,
                "kind": manifest.kind,
                "writer": holder,
                "failed": failed,
                "live": {**asdict(live), "rows_per_second": live.rows_per_second, "seconds_left": live.seconds_left}
                if live
                else None,
            }
        )
        return
    typer.echo(f"{out}: {manifest.kind.replace('_', ' ')}, {state}{f', by {holder}' if holder else ''}")
    if live:
        _print_live(live)
    for shard, reason in failed.items():
        typer.echo(f"failed: {shard}: {reason}")
    if state == "incomplete":
        typer.echo(f"Nobody writes it. Go on with: openmofi jobs retry {shlex.quote(str(out))}")


def _holder(out: str) -> str:
    from openmofi.storage.addresses import in_object_store
    from openmofi.storage.locks import StoreLock, holder_of

    return StoreLock(out).live_holder() if in_object_store(out) else holder_of(Path(out))


@command(app, "retry")
def retry(out: Out) -> None:
    """Start the command again by which you made a folder: it does what failed and what is missing, and nothing else."""
    from openmofi.engine.status import StartedCommand
    from openmofi.storage import read_manifest

    manifest, holder = read_manifest(out), _holder(out)
    if holder:
        raise OpenMofiError(
            f"{out} is being written by {holder}.", f"Wait for it; openmofi jobs status {out} says how far it is."
        )
    if _state(manifest, holder) == "finished":
        typer.echo(f"{out} is finished, and nothing failed.")
        return
    command = StartedCommand.read(out)
    if command is None:
        raise OpenMofiError(
            f"It is not recorded which command made {out}.",
            "Start what made it again: it goes on, and tries what failed.",
        )
    line = visible(shlex.join(["openmofi", *command.arguments]))
    if not command.is_signed:
        raise OpenMofiError(
            f"{out} was not made by a command of yours on this machine, but by: {line}",
            f"If you trust it, run it yourself, in {command.folder}: it goes on.",
        )
    try:
        os.chdir(command.folder)
    except OSError as error:
        raise OpenMofiError(
            f"{command.folder}, where the command was started that made {out}, is not there: {error.strerror}.",
            "Start the command again by hand.",
        ) from error
    print(line, file=sys.stderr, flush=True)
    # -P: what happens to lie in that folder is not imported.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "openmofi", *command.arguments])


def _state(manifest: Manifest, holder: str) -> str:
    if holder:
        return "running"
    return "finished" if manifest.finished and "failed" not in manifest.counts else "incomplete"


def _print_live(live: JobStatus) -> None:
    left = f", {live.seconds_left:,.0f} s left" if live.seconds_left is not None else ""
    typer.echo(f"{live.stage}: {live.done:,}/{live.total:,}, {live.rows_per_second:,.0f} rows/s{left}")
    for worker, (task, since) in sorted(live.workers.items()):
        typer.echo(f"  {worker}: {task}, for {max(time.time() - since, 0.0):,.0f} s")
    for message in live.messages:
        typer.echo(f"  {message}")
    for seconds, stage, task in live.slowest:
        typer.echo(f"slowest: {stage} {task}: {seconds:,.1f} s")

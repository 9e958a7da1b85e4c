"""The options that the studies' commands share, and how a command runs its study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.cli.command import Command, print_json, run_app
from openmofi.engine import Progress
from openmofi.progress import shown_progress

Out = Annotated[Path, typer.Option("-o", "--out", help="Folder of the study; a study that was stopped goes on there.")]
Demo = Annotated[Path, typer.Option(help="Folder of the demo; missing parts that the study needs are made there.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of all runs, as run.steps=20; may be repeated."),
]
EngineOption = Annotated[str, typer.Option("--engine", help="auto, local, processes:N or ray[:ADDRESS].")]
MaxEntities = Annotated[int, typer.Option(min=0, help="A smaller world (0: all).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def run_study(
    work: Callable[[Progress], dict[str, Any]], as_json: bool, show: Callable[[dict[str, Any]], None]
) -> None:
    """Run a study with its progress on the terminal, then show its metrics or print them as JSON."""
    with shown_progress(not as_json) as progress:
        metrics = work(progress)
    if as_json:
        print_json(metrics)
    else:
        show(metrics)


def run_command(function: Callable[..., None]) -> None:
    """Run a function as the only command of a process; see `run_app`.

    Args:
        function: its parameters are the options, as typer reads them, and its docstring is the help.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(cls=Command)(function)
    run_app(app)

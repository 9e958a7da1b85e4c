"""The `openmofi` command: its verbs, each loaded when it is named."""

import logging
import os
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from openmofi.cli.command import Commands, click_command, print_json, run_app
from openmofi.errors import did_you_mean
from openmofi.terminal import VisibleLines
from openmofi.version import __version__

VERBS = {
    "demo": ("", "Label images with known truth and say how good the labels are."),
    "kb": ("kb:app", "Build knowledge bases, look into them, compare, slice and export them."),
    "label": ("label:label", "Label image–text pairs with the entities that their images show."),
    "label check": ("label:check", "Say what of these pairs a job could use, before one begins."),
    "label audit": ("label:audit", "Let a person judge drawn labels; correct their precision by it."),
    "explain": ("label:explain", "Show the whole reasoning for one image and its text."),
    "dataset": ("dataset:app", "Turn labels into a dataset, report on it, audit it."),
    "reinforce": (
        "",
        "Store augmentations, synthetic texts and teachers' embeddings of labelled pairs.",
    ),
    "train": ("train:train", "Train an image encoder on a labelled dataset, as a recipe says."),
    "eval": ("eval:app", "Judge an encoder or a linker as the papers do, and compare results."),
    "encoder": ("encoder:app", "Look into image–text encoders."),
    "export": ("", "Export an encoder for ONNX, OpenVINO or its library, where it agrees."),
    "index": ("index:app", "Build an index over images, keep it up to date and whole."),
    "search": ("search:search", "Search an index by image, text and entity."),
    "recognise": ("search:recognise", "Say what many images may show, by an index."),
    "serve": ("", "Serve an index: the page to search, recognise and review on, and its HTTP API."),
    "mcp": ("", "Offer search and recognition over an index as MCP tools, over stdio."),
    "schema": ("main:schema", "Print the JSON Schema of what a command prints with --json."),
    "jobs": ("jobs:app", "Look at jobs that run; go on with what failed."),
}
"""Verb → `module:attribute` in this folder (empty for a plug-in's), and what `openmofi --help` says of it."""


class _Verbs(Commands):
    def list_commands(self, ctx: Any) -> list[str]:
        return [*VERBS, *(name for name in super().list_commands(ctx) if name not in VERBS)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        module, _, attribute = VERBS.get(cmd_name, ("",))[0].partition(":")
        if not module:
            return super().get_command(ctx, cmd_name)
        return click_command(cmd_name, getattr(import_module(f"openmofi.cli.{module}"), attribute))

    def help_of(self, ctx: Any, name: str) -> str:
        return VERBS[name][1] if name in VERBS else super().help_of(ctx, name)

    # Typer would look for the nearest name among the commands that it has loaded.
    # `label` takes shards, so no group can stand there: `label audit` is a command whose name has two words.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        two = " ".join(args[:2])
        if two not in VERBS and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}.{did_you_mean(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, [two, *args[2:]] if two in VERBS else args)


app = typer.Typer(
    name="openmofi",
    cls=_Verbs,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Noisy image–text pairs in, an entity-labelled image dataset out.",
    epilog="Start here: openmofi demo --tiny, then: openmofi explain --help",
)


def commands(command: Any = None, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it, depth first; groups, and `openmofi` itself, are commands too."""
    command = command or typer.main.get_command(app)
    yield name, command
    if isinstance(command, typer.core.TyperGroup):
        for part in command.list_commands(None):  # type: ignore[arg-type]
            yield from commands(command.get_command(None, part), (*name, part))  # type: ignore[arg-type]


def schema(command: Annotated[list[str] | None, typer.Argument(help="Such as: label, or kb lookup.")] = None) -> None:
    """Print the JSON Schema of what a command prints with --json; without a command, list those that have one."""
    from openmofi.cli.schemas import schema_names, schema_of

    if command:
        print_json(schema_of(" ".join(command)), checked=False)
    else:
        for name in schema_names():
            typer.echo(name)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"openmofi {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.", envvar="OPENMOFI_DEBUG")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what the stages do.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    # The variable is read by `openmofi.cli.command`, outside of typer.
    os.environ["OPENMOFI_DEBUG"] = "1" if debug else ""
    os.environ.setdefault("OPENMOFI_SAMPLE_ENCODERS", "runs/demo/encoders")
    level = logging.INFO if verbose else logging.WARNING
    logged = logging.StreamHandler()
    logged.setFormatter(VisibleLines("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[logged])


def run() -> None:
    """The console script; see `run_app`."""
    # Python starts workers by `-c`, which imports from the working directory before all else, and a stranger's files
    # may lie there.
    os.environ["PYTHONSAFEPATH"] = "1"
    run_app(app)

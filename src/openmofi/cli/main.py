"""The `openmofi` command: registers the verbs and turns errors into sentences and exit codes."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import Annotated, Any

import typer
import typer.core

from openmofi import __version__
from openmofi.cli import dataset, encoder, eval, explain, export, kb, label, link, reinforce, sample, train
from openmofi.errors import OpenMofiError


class _Interrupted(Exception):
    """Ctrl-C, under a name that typer passes on: it would end without a word at a KeyboardInterrupt."""


class _Verbs(typer.core.TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Interrupted(*error.args) from error


app = typer.Typer(
    name="openmofi", cls=_Verbs, no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Noisy image–text pairs in, an entity-labelled image dataset out.",
    epilog="Start here: make demo, then: openmofi explain --help",
)
app.add_typer(kb.app, name="kb", help="Build and look into knowledge bases.")
app.command("label", help="Label image–text pairs with the entities that their images show.")(label.label)
app.command("explain", help="Show the whole reasoning for one image and its text.")(explain.explain)
app.add_typer(dataset.app, name="dataset", help="Turn labels into a dataset, report on it, audit it.")
app.command("reinforce")(reinforce.reinforce)
app.command("train")(train.train)
app.add_typer(link.app, name="link", help="Train linkers: which entity a mention means.")
app.add_typer(eval.app, name="eval")
app.add_typer(encoder.app, name="encoder", help="Look into image–text encoders.")
app.command("export", help="Export an encoder to ONNX or OpenVINO, where it agrees with the original.")(export.export)
app.add_typer(sample.app, name="sample", help="The sample world: real images with known truth, and its encoder.")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"openmofi {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.", envvar="OPENMOFI_DEBUG")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what the stages do.")] = False,
    version: Annotated[bool, typer.Option(
        "--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    # The variable tells `_fail`, which stands outside of typer.
    os.environ["OPENMOFI_DEBUG"] = "1" if debug else ""
    os.environ.setdefault("OPENMOFI_SAMPLE_ENCODERS", "runs/demo/encoders")
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


def run() -> None:
    """The console script: exit codes 0, 1 (failed), 2 (wrong use), 130 (interrupted)."""
    try:
        app()
    except OpenMofiError as error:
        _fail(error, f"error: {error.message}" + (f"\n  {error.hint}" if error.hint else ""), error.exit_code)
    except (_Interrupted, KeyboardInterrupt) as error:
        told = str(error) or "what is finished is kept; start the same command again to go on"
        _fail(error, f"interrupted: {told}", 130)
    except Exception as error:  # the last resort: a person sees one line, a developer asks for --debug
        _fail(error, f"internal error: {type(error).__name__}: {error}\n  Run it again as: openmofi --debug …", 1)


def _fail(error: BaseException, message: str, code: int) -> None:
    if os.environ.get("OPENMOFI_DEBUG"):
        traceback.print_exception(error)
    print(message, file=sys.stderr)
    sys.exit(code)

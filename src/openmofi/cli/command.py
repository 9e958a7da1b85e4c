"""What `openmofi` and the studies share: a run turns errors into a sentence and an exit code, a result may be JSON."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer
import typer.core

from openmofi.errors import OpenMofiError


class _Interrupted(Exception):
    """Ctrl-C, under a name that typer passes on: a KeyboardInterrupt it would end with "Aborted!"."""


class _PassesInterrupts:
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)  # type: ignore[misc]
        except KeyboardInterrupt as error:
            raise _Interrupted(*error.args) from error


class Commands(_PassesInterrupts, typer.core.TyperGroup):
    """A group of commands, for `typer.Typer(cls=…)`."""


class Command(_PassesInterrupts, typer.core.TyperCommand):
    """A single command, for `app.command(cls=…)`."""


def run_command(function: Callable[..., None]) -> None:
    """Run a function as the only command of a process; see `run_app`.

    Args:
        function: its parameters are the options, as typer reads them, and its docstring is the help.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(cls=Command)(function)
    run_app(app)


def run_app(app: Callable[[], None]) -> None:
    """Run an application and leave the process: exit codes 0, 1 (failed), 2 (wrong use), 130 (interrupted).

    A traceback is printed where $OPENMOFI_DEBUG is set.
    """
    try:
        app()
    except OpenMofiError as error:
        _fail(error, f"error: {error.message}" + (f"\n  {error.hint}" if error.hint else ""), error.exit_code)
    except (_Interrupted, KeyboardInterrupt) as error:
        advice = str(error) or "what is finished is kept; start the same command again to go on"
        _fail(error, f"interrupted: {advice}", 130)
    except MemoryError as error:
        _fail(error, f"error: out of memory{f': {error}' if str(error) else ''}.\n  Use fewer processes, a smaller "
                     "--batch-size, or a lower OPENMOFI_DECODE_MIB.", 1)
    except Exception as error:  # the last resort: a person sees one line, a developer asks for the traceback
        _fail(error, f"internal error: {type(error).__name__}: {error}\n  Set OPENMOFI_DEBUG=1 for the traceback.", 1)


def print_json(value: Any) -> None:
    """Print a command's result for programs."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _fail(error: BaseException, message: str, code: int) -> None:
    if os.environ.get("OPENMOFI_DEBUG"):
        traceback.print_exception(error)
    print(message, file=sys.stderr)
    sys.exit(code)

"""What `openmofi` and the studies share: a run turns errors into a sentence and an exit code, a result may be JSON."""

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import typer.core
import typer.main

from openmofi.errors import MissingExtraError, OpenMofiError, UsageError
from openmofi.extensions import extension, extension_names
from openmofi.terminal import json_text, make_output_visible, visible

Restart = Annotated[
    bool, typer.Option("--restart", help="Remove what this command wrote into the output before, and begin anew.")
]
Device = Annotated[str, typer.Option(help="Of the encoder: auto, cpu, cuda, cuda:1 …")]
F = TypeVar("F", bound=Callable[..., Any])
CHECK_VARIABLE = "OPENMOFI_CHECK_JSON"
"""Environment variable: where set, JSON is checked against its schema when it is printed; a folder gets it instead."""


def output_path(text: str) -> Path:
    """The parser of options that name an output, before `Path` makes one slash of the two in an address.

    Raises:
        UsageError: it is the address of a store, or not UTF-8.
    """
    from openmofi.storage.addresses import local_path, require_local

    require_local(text)
    return local_path(text)


def output_place(text: str) -> str:
    """As `output_path`, of commands that write into stores of objects too: a local path, or the address in a store.

    Raises:
        UsageError: it is on another remote file system, or not UTF-8.
    """
    from openmofi.storage.addresses import local_path, require_writable

    return text if require_writable(text) else str(local_path(text))


def input_place(text: str) -> str:
    """As `input_path`, of what is read from stores too: a local path, or the address; `""` stays so.

    Raises:
        UsageError: it is not UTF-8.
    """
    from openmofi.storage.addresses import is_remote

    return text if not text or is_remote(text) else str(input_path(text))


def input_path(text: str) -> Path:
    """The parser of options that name a local folder to read; as `output_path`.

    Raises:
        UsageError: it is the address of a store, or not UTF-8.
    """
    from openmofi.storage.addresses import is_remote, is_utf8, local_path

    if not is_utf8(text):
        raise UsageError(f"{text!a} cannot be read: the name is not UTF-8.", "Rename it.")
    if is_remote(text):
        raise UsageError(f"{text} cannot be read: this is read from a local disk.", "Copy it to a local disk first.")
    return local_path(text)


def index_place(text: str) -> Any:
    """The parser of options that name an index: as `input_path`, or the address of one in PostgreSQL or in a store.

    Raises:
        UsageError: as `input_path`, or the address cannot be understood.
    """
    from openmofi.search.store.connection import is_server, place_of
    from openmofi.storage.addresses import in_object_store, is_remote

    other = is_server(text) or (is_remote(text) and not in_object_store(text))
    return place_of(text) if other else input_place(text)


def new_index_place(text: str) -> Any:
    """The same of an index that is made: as `output_place`, or the address of a server.

    Raises:
        UsageError: as `output_place`, or the address cannot be understood.
    """
    from openmofi.search.store.connection import is_server, place_of

    return place_of(text) if is_server(text) else output_place(text)


class _Interrupted(Exception):
    """Ctrl-C, under a name that typer passes on: a KeyboardInterrupt it would end with "Aborted!"."""


class _InGroups:
    """Help that lists options in their named groups, and cuts nothing; Ctrl-C passes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)  # type: ignore[misc]
        except KeyboardInterrupt as error:
            raise _Interrupted(*error.args) from error

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):  # type: ignore[attr-defined]
            group = "Arguments" if parameter.param_type_name == "argument" else parameter.rich_help_panel or "Options"
            if record := parameter.get_help_record(ctx):
                groups.setdefault(group, []).append(record)
        commands = [(name, self.help_of(ctx, name)) for name in getattr(self, "list_commands", lambda _: ())(ctx)]
        for title, records in {**groups, "Commands": commands}.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def help_of(self, ctx: Any, name: str) -> str:
        """Return what the list of commands says of one: the first paragraph of its help."""
        return " ".join((self.get_command(ctx, name).help or "").partition("\n\n")[0].split())  # type: ignore[attr-defined]


class Commands(_InGroups, typer.core.TyperGroup):
    """A group of commands, for `typer.Typer(cls=…)`; packages may add some.

    A package adds `openmofi kb NAME` by the entry point `kb.NAME = "package.module:attribute"` in the group
    `openmofi.commands`, a function as typer reads it or what `group` returns. None takes the place of a command that is
    there. The list of commands imports that module for its help: heavy imports stand inside its functions.
    """

    path = ""
    """The words that call the group, each with a dot behind it."""
    order: tuple[str, ...] = ()
    """The commands that are listed first."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, those that packages add last unless `order` names them."""
        names = super().list_commands(ctx)
        added = [name.removeprefix(self.path) for name in extension_names("commands") if name.startswith(self.path)]
        names = [*names, *(name for name in added if name not in names and "." not in name)]
        return [*(name for name in self.order if name in names), *(name for name in names if name not in self.order)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name; `None` where there is none."""
        if (command := super().get_command(ctx, cmd_name)) is not None:
            return command
        added = extension("commands", f"{self.path}{cmd_name}")
        return added and click_command(cmd_name, added)

    def help_of(self, ctx: Any, name: str) -> str:
        """Return what the list says of a command, or why it cannot be loaded."""
        try:
            return super().help_of(ctx, name)
        except OpenMofiError as error:  # another package's fault is no reason to show no help at all
            return error.message


class Command(_InGroups, typer.core.TyperCommand):
    """A single command, for `app.command(cls=…)`."""


def group(words: str, help: str, cls: type[Commands] = Commands, **options: Any) -> typer.Typer:
    """Return a group of commands that are registered with `command`.

    Args:
        words: that call it, such as `kb build`.
        help: what it is for.
        cls: its class.
        options: of `typer.Typer`.
    """
    placed = type(cls.__name__, (cls,), {"path": "".join(f"{word}." for word in words.split())})
    return typer.Typer(cls=placed, no_args_is_help=True, rich_markup_mode=None, help=help, **options)


def command(app: typer.Typer, name: str | None = None, **options: Any) -> Callable[[F], F]:
    """Register a function as a command of a group."""
    return app.command(name, cls=Command, **options)


@cache
def click_command(name: str, verb: typer.Typer | Callable[..., None]) -> Any:
    """Return a group, or a function, as the command that it is under a name."""
    if not isinstance(verb, typer.Typer):
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        command(single, name)(verb)
        return typer.main.get_command(single)
    made = typer.main.get_group(verb)
    made.name = name
    return made


def run_app(app: Callable[[], None]) -> None:
    """Run an application and leave the process: exit codes 0, 1 (failed), 2 (wrong use), 130 (interrupted).

    A traceback is printed where $OPENMOFI_DEBUG is set.
    """
    make_output_visible()
    try:
        app()
    except OpenMofiError as error:
        _fail(error, f"error: {error.message}" + (f"\n  {error.hint}" if error.hint else ""), error.exit_code)
    except (_Interrupted, KeyboardInterrupt) as error:
        advice = str(error) or "what is finished is kept; start the same command again to go on"
        _fail(error, f"interrupted: {advice}", 130)
    except MemoryError as error:
        _fail(
            error,
            f"error: out of memory{f': {error}' if str(error) else ''}.\n  Use fewer processes, a smaller "
            "--batch-size, or a lower OPENMOFI_DECODE_MIB.",
            1,
        )
    except PermissionError as error:
        _fail(
            error,
            f"error: {error.filename or error}: permission denied.\n  Run the command as a user that may use it.",
            1,
        )
    except Exception as error:
        package = (getattr(error, "name", None) or "openmofi").partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and package not in ("openmofi", *sys.stdlib_module_names):
            missing = MissingExtraError.of(package)
            _fail(error, f"error: {missing.message}\n  {missing.hint}", 1)
        # the last resort: a person sees one line, a developer asks for the traceback
        _fail(error, f"internal error: {type(error).__name__}: {error}\n  Set OPENMOFI_DEBUG=1 for the traceback.", 1)


def print_json(value: Any, *, checked: bool = True) -> None:
    """Print a command's result for programs; its schema is published, see `openmofi.cli.schemas`."""
    if checked and (check := os.environ.get(CHECK_VARIABLE)):
        from openmofi.cli.schemas import check_printed

        check_printed(value, record=check if Path(check).is_dir() else "")
    typer.echo(json_text(value))


def print_checked(problems: Mapping[str, str], as_json: bool, hint: str = "") -> None:
    """Say of each file whether it is whole; the command exits with 1 where one is not.

    Args:
        problems: file → what is wrong with it, `""` for nothing.
        as_json: for programs.
        hint: what to do where one is damaged.
    """
    whole = not any(problems.values())
    if as_json:
        print_json({"whole": whole, "files": {name: problem or "whole" for name, problem in problems.items()}})
    else:
        for name, problem in problems.items():
            typer.echo(f"{'NOT' if problem else 'ok '} {name}{': ' if problem else ''}{problem}")
        if hint and not whole:
            typer.echo(hint)
    if not whole:
        raise typer.Exit(1)


def _fail(error: BaseException, message: str, code: int) -> None:
    if os.environ.get("OPENMOFI_DEBUG"):
        print(visible("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    print(visible(message), file=sys.stderr)
    sys.exit(code)

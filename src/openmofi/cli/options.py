"""Commands made of functions: a parameter or setting of the function is an option of the command.

    @made_of(openmofi.label, out=OUT_STORE)
    def label(call: Call, as_json: Json = False) -> None:
        counts = call(progress=not as_json).summary

The command's function says what is done with the result; `call` is the function with what the command line gave.
"""

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from openmofi.cli.command import index_place, input_path, input_place, new_index_place, output_path, output_place
from openmofi.config.options import Option, plain
from openmofi.errors import UsageError

Call = partial[Any]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OUT = Annotated[Path, typer.Option("--out", "-o", parser=output_path, metavar="FOLDER")]
OUT_STORE = Annotated[str, typer.Option("--out", "-o", parser=output_place, metavar="FOLDER")]
OUT_INDEX = Annotated[Any, typer.Option("--out", "-o", parser=new_index_place, metavar="INDEX")]
STORE = Annotated[str | None, typer.Option(parser=output_place, metavar="FOLDER")]
PLACE = Annotated[str | None, typer.Option(parser=input_place, metavar="FOLDER")]
READ = Annotated[Path | None, typer.Option(parser=input_path, metavar="DIR")]
FILE = Annotated[Path | None, typer.Option(metavar="FILE")]
INDEX = Annotated[Any, typer.Option(parser=index_place, metavar="INDEX")]
IndexPlace = Annotated[
    Any,
    typer.Argument(
        parser=index_place,
        metavar="INDEX",
        help="Folder of the index, s3://… (to read it), or postgresql://HOST/DATABASE.",
    ),
]
MovedEncoder = Annotated[str | None, typer.Option(help="Where the one of the index has moved to.")]
TEXT = Annotated[str, typer.Option()]
SHARDS = Annotated[list[str], typer.Argument(metavar="SHARDS")]
LICENCE = Annotated[str, typer.Option("--license")]
MANY = Annotated[list[str] | None, typer.Option()]

_KINDS: dict[str, Any] = {"out": OUT, "kb": PLACE, "labels": PLACE, "dataset": PLACE, "cache": STORE}
"""How parameters that many functions have are read, where a command does not say it."""
_COMPUTING = "Computing"
_COMPUTED = (
    "device",
    "precision",
    "teacher_precision",
    "compile",
    "engine",
    "batch_size",
    "max_image_pixels",
    "cache",
    "seed",
)
_LEFT_OUT = ("settings", "progress")


def made_of(
    function: Callable[..., Any], /, *, first: Sequence[str] = (), groups: bool = False, **kinds: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function that `openmofi.config.options.with_settings` completed.

    Args:
        function: is called with the options.
        first: options that the help lists first, in this order, outside of any group.
        groups: whether the help lists the others in named groups.
        kinds: of a parameter: how it is read, as typer's `Annotated[TYPE, Option(…)]`, without its help; `None` leaves
            it out.
    """

    def command(printer: Callable[..., None]) -> Callable[..., None]:
        signature, shown_parameters = inspect.signature(function), inspect.signature(printer, eval_str=True).parameters
        options: Mapping[str, Option] = function.__options__  # type: ignore[attr-defined]
        taken = {
            name: _parameter(each, function, kinds.get(name), groups and name not in first)
            for name, each in signature.parameters.items()
            if name not in _LEFT_OUT and kinds.get(name, each) is not None
        }
        config = {"config": _CONFIG} if options and kinds.get("config", True) else {}
        extra = {name: each for name, each in shown_parameters.items() if name not in ("call", "context", *taken)}

        def run(context: typer.Context, **values: Any) -> None:
            given = {
                name: _value(options.get(name), name, value)
                for name, value in values.items()
                if name in taken and context.get_parameter_source(name).name != "DEFAULT"  # type: ignore[union-attr]
            }
            if file := values.get("config"):
                from openmofi.config.recipes import read_values

                given = {**read_values(file), **given}
            values["context"] = context
            printer(
                call=partial(function, **given),
                **{name: value for name, value in values.items() if name in shown_parameters},
            )

        order = {name: position for position, name in enumerate(first)}
        parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
        parameters += [
            each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for each in sorted(
                (taken | config | extra).values(),
                key=lambda each: (
                    -1 if _is_argument(each) else order.get(each.name, len(order) + (each.name in _COMPUTED))
                ),
            )
        ]
        run.__name__, run.__doc__ = printer.__name__, printer.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return command


_CONFIG = inspect.Parameter(
    "config",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML file of settings; options of the command line come before it."),
    ],
)


def _is_argument(each: inspect.Parameter) -> bool:
    return isinstance(get_args(each.annotation)[1], typer.models.ArgumentInfo)


def _parameter(each: inspect.Parameter, function: Callable[..., Any], kind: Any, grouped: bool) -> inspect.Parameter:
    """A parameter of a function as one of typer."""
    option: Option | None = function.__options__.get(each.name)  # type: ignore[attr-defined]
    default = each.default
    if kind is None:
        kind = _KINDS.get(each.name)
        if kind is PLACE and each.kind is each.POSITIONAL_OR_KEYWORD:
            kind = Annotated[str, typer.Argument(parser=input_place, metavar=each.name.upper())]
    if kind is None:
        annotation, default = _read_as(option.kind if option else _evaluated(each, function), default)
        flag = [f"--{each.name.replace('_', '-')}"] if annotation is bool and default is False else []
        info = typer.Argument() if each.kind is each.POSITIONAL_OR_KEYWORD else typer.Option(*flag)
        if option and get_origin(annotation) is Literal:  # checked by the settings, whose sentence names what there is
            annotation, info.metavar = str, f"<{'|'.join(get_args(annotation))}>"
    else:
        annotation, info = get_args(kind)
        info = copy(info)
        if isinstance(default, tuple) or (default is each.empty and type(None) in get_args(annotation)):
            default = "" if annotation is str else None
    texts: Mapping[str, str] = function.__texts__  # type: ignore[attr-defined]
    info.help = command_text(texts[each.name], texts)
    if grouped:
        info.rich_help_panel = _COMPUTING if each.name in _COMPUTED else option.group if option else ""
    return each.replace(default=default, annotation=Annotated[annotation, info])


def command_text(text: str, names: Collection[str] = ()) -> str:
    """A text of a docstring as a command says it: without backticks, and nothing about Python.

    Args:
        text: in Markdown.
        names: parameters, which are options here.
    """
    said = text.partition(" In Python")[0]
    said = re.sub(r"`(\w+)`", lambda match: f"--{match[1].replace('_', '-')}" if match[1] in names else match[0], said)
    return (said if said[:1] == "`" else said[:1].upper() + said[1:]).replace("`", "")


def _evaluated(each: inspect.Parameter, function: Callable[..., Any]) -> Any:
    """The annotation; text where it names what is not imported."""
    if not isinstance(each.annotation, str):
        return each.annotation
    try:
        return eval(each.annotation, inspect.getmodule(function).__dict__)
    except NameError:
        return str if each.default is each.empty else str | None


def _read_as(kind: Any, default: Any) -> tuple[Any, Any]:
    """How a kind of value is read from a command line, and its default there."""
    kind, parts = plain(kind), get_args(plain(kind))
    if any(get_origin(part) is tuple for part in parts):  # a column's name, or several
        return list[str] | None, None
    if get_origin(kind) is tuple:
        return str, ",".join(map(str, default))
    if type(None) in parts and default is not None:
        return str, str(default)
    return kind, default


def _value(option: Option | None, name: str, value: Any) -> Any:
    """A value of the command line as the function takes it."""
    if option is None:
        return value
    kind, parts = plain(option.kind), get_args(plain(option.kind))
    if get_origin(kind) is tuple and isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if type(None) in parts and option.default is not None:
        if value.strip().lower() == "off":
            return None
        try:
            return parts[0](value)
        except ValueError as error:
            raise UsageError(f"--{name.replace('_', '-')} is {value!r}; it must be a number or 'off'.") from error
    return value

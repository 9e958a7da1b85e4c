"""Options of functions, made of the fields of their settings: signature, docstring, changes by keyword.

    @with_settings(LabelSettings)
    def label(pairs, *, out, settings: LabelSettings | None = None, **changes): ...

`label(…, threshold=0.9)` changes a field, `help(label)` lists the fields, and the command line makes its options of
them (`openmofi.cli.options`).
"""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import reduce
from operator import or_
from os import PathLike, fspath
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

from openmofi.config.fields import converted, field_types
from openmofi.config.layers import S, replaced, section_leaves
from openmofi.errors import UsageError, did_you_mean

F = TypeVar("F", bound=Callable[..., Any])
_MOST_NAMES = 40


@dataclass(frozen=True)
class Option:
    """A field of settings, as a keyword or an option of the command line.

    Attributes:
        path: dotted, from the outermost settings.
        kind: its annotation, constraints included.
        default: `inspect.Parameter.empty` where it has none.
        help: from the docstring of its class.
        group: what the docstring says of the section that it is in; empty at the top.
    """

    path: str
    kind: Any
    default: Any
    help: str
    group: str = ""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


def options_of(settings: type[Any], path: str = "", group: str = "") -> Iterator[Option]:
    """The fields of settings and of the sections below them, depth first."""
    documented = {name: text for kind in reversed(settings.__mro__) for name, text in entries(kind.__doc__).items()}
    for each in fields(settings):
        kind = field_types(settings)[each.name]
        if is_dataclass(kind):
            yield from options_of(
                cast("type[Any]", kind), f"{path}{each.name}.", documented.get(each.name, "").rstrip(".")
            )
        else:
            default = inspect.Parameter.empty if each.default is MISSING else each.default
            yield Option(f"{path}{each.name}", kind, default, documented.get(each.name, ""), group)


def entries(docstring: str | None, section: str = "Attributes") -> dict[str, str]:
    """Name → text of each entry in a section of a docstring."""
    match = re.search(rf"^{section}:\n((?:(?: .*)?\n)*)", inspect.cleandoc(docstring or "") + "\n", re.M)
    listed = re.findall(r"^ {4}([\w, ]+): (.*(?:\n {8}.*)*)", match[1] if match else "", re.M)
    return {name: " ".join(text.split()) for names, text in listed for name in names.split(", ")}


def with_settings(
    settings: type[Any] | None = None, *, without: Sequence[str] = (), shared: Mapping[str, str] | None = None
) -> Callable[[F], F]:
    """Give a function the signature and the docstring that the fields of its settings make.

    The function takes `**changes` and applies them with `changed`; its docstring has the entries of its own parameters.

    Args:
        settings: the class of its settings; `None` for a function without any.
        without: fields or sections that are no keywords of it, though `settings` may change them.
        shared: texts of parameters that many functions have, where its docstring has none.
    """
    offered = (
        [option for option in options_of(settings) if not {option.name, *option.path.split(".")} & {*without}]
        if settings
        else []
    )

    def completed(function: F) -> F:
        signature = inspect.signature(function)
        given = {name: each for name, each in signature.parameters.items() if each.kind is not each.VAR_KEYWORD}
        options = {option.name: option for option in offered if option.name not in given}
        made = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=plain(option.kind)
            )
            for name, option in options.items()
        ]
        texts = entries(function.__doc__, "Args")
        written = {name: texts.get(name) or (shared or {}).get(name, "") for name in given}
        written |= {name: option.help for name, option in options.items()}
        vars(function).update(__signature__=signature.replace(parameters=[*given.values(), *made]))
        vars(function).update(__settings__=settings, __options__=options, __texts__=written)
        listed = "".join(
            textwrap.fill(f"{name}: {text}", 100, initial_indent=" " * 4, subsequent_indent=" " * 8) + "\n"
            for name, text in written.items()
        )
        cleaned = inspect.cleandoc(function.__doc__ or "") + "\n"
        head, _, tail = cleaned.partition("Args:\n") if "Args:\n" in cleaned else (f"{cleaned}\n", "", "")
        rest = re.sub(r"\A(?: .*\n|\n(?= ))*", "", tail)
        function.__doc__ = f"{head}Args:\n{listed}{rest}"
        return function

    return completed


def plain(kind: Any) -> Any:
    """An annotation without its constraints."""
    if get_origin(kind) is Annotated:
        return plain(get_args(kind)[0])
    parts = tuple(map(plain, get_args(kind)))
    if parts == get_args(kind):
        return kind
    return tuple.__class_getitem__(parts) if get_origin(kind) is tuple else reduce(or_, parts)


def changed(settings: S, changes: Mapping[str, Any]) -> S:
    """`settings` with other values.

    Args:
        settings: what is changed; stays as it is.
        changes: by a field's name (`lr`), where only one section has it or it is at the top; its path
            (`optimizer.lr`); or that of a section, with a mapping or settings of its own.

    Raises:
        UsageError: a name is unknown (names the nearest) or stands for several fields, or a value breaks a constraint.
    """
    kind = type(settings)
    leaves: dict[str, Any] = {}
    for name, value in changes.items():
        path, annotation = _field(kind, name)
        if is_dataclass(annotation):
            nested = value.as_dict() if hasattr(value, "as_dict") else value
            leaves |= section_leaves(cast("type[Any]", annotation), nested, name, kind, path)
        else:
            leaves[path] = converted(_value(value), annotation, name)
    return replaced(settings, leaves, named=False)


def _field(kind: type[Any], name: str) -> tuple[str, Any]:
    """Path and annotation of the field or section that a name stands for."""
    everywhere = dict(_named(kind, ""))
    paths = [name] if name in everywhere else [path for path in everywhere if path.rpartition(".")[2] == name]
    if not paths:
        names = list(dict.fromkeys(path.rpartition(".")[2] for path in everywhere))
        choices = names if len(names) <= _MOST_NAMES else field_types(kind)
        raise UsageError(f"Unknown setting {name!r}.{did_you_mean(name, names)}", f"Settings: {', '.join(choices)}.")
    if len(paths) > 1:
        raise UsageError(f"{name} stands for several settings: {', '.join(paths)}.", "Write the path of one of them.")
    return paths[0], everywhere[paths[0]]


def _named(kind: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, annotation in field_types(kind).items():
        yield f"{path}{name}", annotation
        if is_dataclass(annotation):
            yield from _named(annotation, f"{path}{name}.")


def _value(value: Any) -> Any:
    """A value of NumPy or a path as plain Python has it."""
    if hasattr(value, "item"):
        return value.item()
    return fspath(value) if isinstance(value, PathLike) else value

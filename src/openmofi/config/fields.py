"""Constraints of settings, written at the field, and the check that every dataclass of settings makes.

A field's annotation is its constraint: `Fraction`, `Literal["linear", "mlp"]`, or `Annotated[int, Meta(ge=2)]` with
`msgspec.Meta`. A `pattern` of text needs a `description` that says what to use. msgspec
(https://jcristharif.com/msgspec) converts and checks; the messages are written here.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache, partial
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta, inspect

from openmofi.errors import UsageError

PositiveInt = Annotated[int, Meta(ge=1)]
NonNegativeInt = Annotated[int, Meta(ge=0)]
PositiveFloat = Annotated[float, Meta(gt=0)]
NonNegativeFloat = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
PositiveFraction = Annotated[float, Meta(gt=0, le=1)]
ProperFraction = Annotated[float, Meta(ge=0, lt=1)]

FREE = "free"
"""Marks a setting that decides nothing of the outcome, as `Annotated[int, FREE]`: see `deciding`."""

_INDEX = re.compile(r"`\$\[(\d+)\]`$")
_BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))


@dataclass(frozen=True)
class Settings:
    """Base of the dataclasses of settings: the constraints hold however one is built.

    A rule about several fields goes into the subclass's own `__post_init__`, after `super().__post_init__()`.

    Raises:
        UsageError: a value breaks the constraint of its field.
    """

    def __post_init__(self) -> None:
        for name, kind in field_types(type(self)).items():
            converted(getattr(self, name), kind, name)

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, for manifests."""
        return asdict(self)


field_types: Callable[[Any], Mapping[str, Any]] = cache(partial(get_type_hints, include_extras=True))
"""Of a dataclass: name → annotation of each field, constraints included."""


def deciding(settings: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value, as JSON has it, of every setting below `settings` that is not marked `FREE`."""
    for name, kind in field_types(type(settings)).items():
        value = getattr(settings, name)
        if is_dataclass(value):
            yield from deciding(value, f"{path}{name}.")
        elif FREE not in getattr(kind, "__metadata__", ()):
            yield f"{path}{name}", list(value) if isinstance(value, tuple) else value


def converted(value: Any, kind: Any, key: str) -> Any:
    """`value` as the type `kind`: an integer may stand for a float and a list for a tuple, nothing else for another.

    Raises:
        UsageError: it is of another type, out of range or not finite; the message names `key`.
    """
    for number in value if isinstance(value, list | tuple) else (value,):
        if isinstance(number, float) and not math.isfinite(number):
            raise UsageError(f"{key} is {number}; it must be finite.")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        info: Any = inspect.type_info(kind)
        if match := _INDEX.search(str(error)):
            index = int(match[1])
            info = info.item_types[index] if isinstance(info, inspect.TupleType) else info.item_type
            value, key = value[index], f"{key}[{index}]"
        raise UsageError(_refusal(value, info, key)) from None


def check_ascending(**ranges: tuple[float, float]) -> None:
    """Check ranges, each (least, greatest).

    Raises:
        UsageError: the greater number comes first; names the setting.
    """
    for name, (least, greatest) in ranges.items():
        if least > greatest:
            raise UsageError(f"{name} is [{least:g}, {greatest:g}]; the smaller number comes first.")


def shown(value: Any) -> str:
    """A value of YAML as messages write it."""
    if value is None:
        return "empty"
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else repr(value)


def _refusal(value: Any, info: Any, key: str) -> str:
    if isinstance(info, inspect.UnionType):  # of the type and None
        info = info.types[0]
    if isinstance(info, inspect.Metadata):
        return f"unknown value {value!r} for {key}; use {(info.extra_json_schema or {})['description']}."
    if isinstance(info, inspect.LiteralType):
        *names, last = map(str, info.values)
        return f"unknown value {value!r} for {key}; use {', '.join(names)} or {last}."
    if isinstance(info, inspect.IntType | inspect.FloatType):
        integer = isinstance(value, int) and not isinstance(value, bool)
        if integer or (isinstance(value, float) and isinstance(info, inspect.FloatType)):
            return f"{key} is {value!r}; it must {_range(info)}."
        what = "a whole number" if isinstance(info, inspect.IntType) else "a number"
        return f"{key} is {shown(value)}; it must be {what}."
    if isinstance(info, inspect.TupleType | inspect.VarTupleType):
        if not isinstance(value, list | tuple):
            return f"{key} is {shown(value)}; it must be a list, such as [first, second]."
        least = len(info.item_types) if isinstance(info, inspect.TupleType) else f"at least {info.min_length}"
        return f"{key} has {len(value)} values; it must have {least}."
    return f"{key} is {shown(value)}; it must be {'true or false' if isinstance(info, inspect.BoolType) else 'text'}."


def _range(info: inspect.IntType | inspect.FloatType) -> str:
    if info.ge is not None and info.le is not None:
        return f"lie between {info.ge:g} and {info.le:g}"
    limits = [f"{word} {getattr(info, name):g}" for name, word in _BOUNDS if getattr(info, name) is not None]
    return f"be {' and '.join(limits)}"

"""Signature, docstring and changes by keyword, made of the fields of settings."""

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
from msgspec import Meta

from openmofi.config import PositiveInt, Settings, changed, with_settings
from openmofi.config.options import options_of, plain
from openmofi.errors import UsageError


@dataclass(frozen=True)
class Inner(Settings):
    """A section.

    Attributes:
        share: of all that there is,
            in a text of two lines.
        kind, name: said of both.
    """

    share: Annotated[float, Meta(ge=0, le=1)] = 0.5
    kind: Literal["a", "b"] = "a"
    name: str = "inner"


@dataclass(frozen=True)
class Other(Settings):
    """Another.

    Attributes:
        name: of the other.
        lengths: of things.
    """

    name: str = "other"
    lengths: tuple[PositiveInt, ...] = (1, 2)


@dataclass(frozen=True)
class Outer(Settings):
    """The whole.

    Attributes:
        count: of things.
        inner: What is inside.
        other: What is not.
        folder: where.
    """

    count: PositiveInt = 3
    inner: Inner = field(default_factory=Inner)
    other: Other = field(default_factory=Other)
    folder: str | None = None


@with_settings(Outer, without=("other",), shared={"again": "begin anew."})
def work(source: str, *, settings: Outer | None = None, again: bool = False, **changes: object) -> Outer:
    """Work.

    More of it.

    Args:
        source: what is worked on.

    Raises:
        UsageError: no.
    """
    return changed(settings or Outer(), changes)


def test_the_fields_are_keywords_and_their_texts_are_in_the_docstring():
    assert [(each.path, each.group) for each in options_of(Outer)][:3] == [
        ("count", ""),
        ("inner.share", "What is inside"),
        ("inner.kind", "What is inside"),
    ]
    parameters = inspect.signature(work).parameters
    assert list(parameters) == ["source", "settings", "again", "count", "share", "kind", "name", "folder"]
    assert (parameters["share"].default, parameters["share"].annotation) == (0.5, float)
    assert parameters["kind"].annotation == Literal["a", "b"]
    lines = work.__doc__.splitlines()
    assert lines[:5] == ["Work.", "", "More of it.", "", "Args:"]
    assert "    share: of all that there is, in a text of two lines." in lines
    assert "    again: begin anew." in lines
    assert lines[-3:-1] == ["", "Raises:"]


def test_a_change_is_a_name_a_path_or_a_section():
    assert work("x", share=1, count=np.int64(4)) == Outer(4, Inner(1.0))
    assert work("x", folder=Path("a/b")).folder == "a/b"
    assert work("x", **{"inner.name": "a", "other": {"name": "b", "lengths": [7]}}) == Outer(
        inner=Inner(name="a"), other=Other("b", (7,))
    )
    assert work("x", inner=Inner(0.25)).inner == Inner(0.25)
    assert work("x", settings=Outer(9), share=0) == Outer(9, Inner(0.0))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shar": 1}, "Unknown setting 'shar'. Did you mean 'share'?"),
        ({"share": 2}, "share is 2; it must lie between 0 and 1."),
        ({"count": "three"}, "count is 'three'; it must be a whole number."),
        ({"name": "x"}, "name stands for several settings: inner.name, other.name."),
        ({"inner": {"kin": "a"}}, "inner: unknown setting inner.kin; did you mean inner.kind?"),
        ({"inner": {"kind": "c"}}, "inner: unknown value 'c' for inner.kind; use a or b."),
    ],
)
def test_a_wrong_change_is_named(changes, says):
    with pytest.raises(UsageError) as refused:
        work("x", **changes)
    assert refused.value.message == says


def test_constraints_are_no_part_of_a_signature():
    assert plain(Annotated[int, Meta(ge=1)] | None) == int | None
    assert plain(tuple[PositiveInt, ...]) == tuple[int, ...]
    assert plain(str | tuple[str, ...]) == str | tuple[str, ...]


def test_every_setting_of_the_front_door_has_a_text():
    import openmofi

    for name in openmofi.__all__:
        for option in getattr(getattr(openmofi, name), "__options__", {}).values():
            assert option.help.endswith((".", "…")), (name, option.path)

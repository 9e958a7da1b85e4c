"""Constraints at the field hold for dataclasses built in Python; messages say key, value and what is allowed."""

import importlib
import pkgutil
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, get_args

import pytest
from msgspec import Meta

from openmofi.config import (
    FREE,
    Fraction,
    PositiveFloat,
    PositiveInt,
    ProperFraction,
    Settings,
    check_ascending,
    deciding,
)
from openmofi.config.fields import field_types
from openmofi.errors import UsageError


@dataclass(frozen=True)
class Example(Settings):
    threshold: Fraction = 0.5
    rate: ProperFraction = 0.0
    bits: Annotated[int, Meta(ge=0, le=12)] | None = 3
    ranks: Annotated[tuple[PositiveInt, ...], Meta(min_length=1)] = (1, 5)
    crop: tuple[PositiveFloat, PositiveFloat] = (0.1, 1.0)
    head: Literal["linear", "mlp", "none"] = "linear"
    tower: Annotated[str, Meta(pattern="^timm:.", description="timm:NAME")] = "timm:x"
    name: str = ""
    compile: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ascending(crop=self.crop)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 1.5}, "threshold is 1.5; it must lie between 0 and 1."),
        ({"threshold": "high"}, "threshold is 'high'; it must be a number."),
        ({"threshold": True}, "threshold is True; it must be a number."),
        ({"threshold": float("nan")}, "threshold is nan; it must be finite."),
        ({"rate": 1}, "rate is 1; it must be at least 0 and below 1."),
        ({"bits": 13}, "bits is 13; it must lie between 0 and 12."),
        ({"bits": 1.0}, "bits is 1.0; it must be a whole number."),
        ({"ranks": ()}, "ranks has 0 values; it must have at least 1."),
        ({"ranks": (1, 0)}, "ranks[1] is 0; it must be at least 1."),
        ({"ranks": 5}, "ranks is 5; it must be a list, such as [first, second]."),
        ({"crop": (0.5,)}, "crop has 1 values; it must have 2."),
        ({"crop": (0.5, float("inf"))}, "crop is inf; it must be finite."),
        ({"crop": (0.5, 0.4)}, "crop is [0.5, 0.4]; the smaller number comes first."),
        ({"head": "mpl"}, "unknown value 'mpl' for head; use linear, mlp or none."),
        ({"tower": "timm:"}, "unknown value 'timm:' for tower; use timm:NAME."),
        ({"name": None}, "name is empty; it must be text."),
        ({"compile": 1}, "compile is 1; it must be true or false."),
    ],
)
def test_a_broken_constraint_is_named_with_its_value(changes, message):
    with pytest.raises(UsageError) as caught:
        Example(**changes)
    assert str(caught.value) == message
    with pytest.raises(UsageError):
        replace(Example(), **changes)


def test_what_the_constraints_allow_stays_as_it_is():
    settings = Example(threshold=1, rate=0.999, bits=None, ranks=(7,), crop=(2, 2), head="none")
    assert settings.as_dict() == {
        "threshold": 1,
        "rate": 0.999,
        "bits": None,
        "ranks": (7,),
        "crop": (2, 2),
        "head": "none",
        "tower": "timm:x",
        "name": "",
        "compile": False,
    }
    assert type(settings.threshold) is int  # written to manifests as it was given


@dataclass(frozen=True)
class Outer(Settings):
    folder: Annotated[str, FREE] = ""
    workers: Annotated[PositiveInt, FREE] = 2
    seed: int = 0
    inner: Example = field(default_factory=Example)


def test_what_is_free_decides_nothing_and_is_checked_all_the_same():
    settings = Outer()
    assert dict(deciding(replace(settings, folder="elsewhere", workers=9))) == dict(deciding(settings))
    assert dict(deciding(replace(settings, seed=1))) != dict(deciding(settings))
    assert set(dict(deciding(settings))) == {"seed", *(f"inner.{name}" for name in field_types(Example))}
    assert dict(deciding(settings))["inner.ranks"] == [1, 5]
    with pytest.raises(UsageError, match="workers is 0; it must be at least 1"):
        Outer(workers=0)


def _bare(kind):
    """Whether a number stands in the annotation without a constraint of its own."""
    if isinstance(kind, type):
        return kind in (int, float)
    return not hasattr(kind, "__metadata__") and any(map(_bare, get_args(kind)))


def test_every_number_of_every_setting_has_a_range():
    import openmofi

    for module in pkgutil.walk_packages(openmofi.__path__, "openmofi."):
        if module.name.endswith(("settings", "recipe", "schema")) or ".protocols." in module.name:
            importlib.import_module(module.name)
    every = {kind for kind in Settings.__subclasses__() if kind.__module__.startswith("openmofi.")}
    assert len(every) > 30
    assert {
        f"{kind.__name__}.{name}"
        for kind in every
        for name, annotation in field_types(kind).items()
        if _bare(annotation)
    } == {"ContrastiveSettings.bias"}

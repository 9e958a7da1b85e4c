"""Constraints at the field hold for dataclasses built in Python; messages say key, value and what is allowed."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import pytest
from msgspec import Meta

from openmofi.config import Fraction, PositiveFloat, PositiveInt, ProperFraction, Settings, check_ascending
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


@pytest.mark.parametrize(("changes", "message"), [
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
])
def test_a_broken_constraint_is_named_with_its_value(changes, message):
    with pytest.raises(UsageError) as caught:
        Example(**changes)
    assert str(caught.value) == message
    with pytest.raises(UsageError):
        replace(Example(), **changes)


def test_what_the_constraints_allow_stays_as_it_is():
    settings = Example(threshold=1, rate=0.999, bits=None, ranks=(7,), crop=(2, 2), head="none")
    assert settings.as_dict() == {"threshold": 1, "rate": 0.999, "bits": None, "ranks": (7,), "crop": (2, 2),
                                  "head": "none", "tower": "timm:x", "name": "", "compile": False}
    assert type(settings.threshold) is int  # written to manifests as it was given

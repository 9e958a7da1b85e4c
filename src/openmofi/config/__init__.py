"""Settings: dataclasses whose constraints stand at the field, read from YAML and `KEY=VALUE`."""

from openmofi.config.fields import (
    FREE,
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    ProperFraction,
    Settings,
    check_ascending,
    deciding,
)
from openmofi.config.layers import settings_from
from openmofi.config.near import did_you_mean
from openmofi.config.options import changed, with_settings

__all__ = [
    "FREE",
    "Fraction",
    "NonNegativeFloat",
    "NonNegativeInt",
    "PositiveFloat",
    "PositiveFraction",
    "PositiveInt",
    "ProperFraction",
    "Settings",
    "changed",
    "check_ascending",
    "deciding",
    "did_you_mean",
    "settings_from",
    "with_settings",
]

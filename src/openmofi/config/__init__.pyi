from .fields import (
    FREE as FREE,
    Fraction as Fraction,
    NonNegativeFloat as NonNegativeFloat,
    NonNegativeInt as NonNegativeInt,
    PositiveFloat as PositiveFloat,
    PositiveFraction as PositiveFraction,
    PositiveInt as PositiveInt,
    ProperFraction as ProperFraction,
    Settings as Settings,
    check_ascending as check_ascending,
    deciding as deciding,
)
from .layers import settings_from as settings_from
from .options import changed as changed, with_settings as with_settings

"""Teachers' knowledge of a dataset, computed once, stored, replayed. Students are trained on it elsewhere."""

from openmofi.reinforcement.augmentation import (
    TRANSFORM_VERSION,
    Augmentation,
    AugmentSettings,
    augmented,
    image_hash,
    replayed,
)
from openmofi.reinforcement.job import reinforce
from openmofi.reinforcement.precision import tune_scale
from openmofi.reinforcement.recall import Knowledge, Recalled
from openmofi.reinforcement.reinforce_settings import ReinforceSettings
from openmofi.reinforcement.table import KIND
from openmofi.reinforcement.teachers import Teacher, TeacherSpec, parse_specs, parse_teachers

__all__ = [
    "KIND",
    "TRANSFORM_VERSION",
    "AugmentSettings",
    "Augmentation",
    "Knowledge",
    "Recalled",
    "ReinforceSettings",
    "Teacher",
    "TeacherSpec",
    "augmented",
    "image_hash",
    "parse_specs",
    "parse_teachers",
    "reinforce",
    "replayed",
    "tune_scale",
]

from .augmentation import (
    TRANSFORM_VERSION as TRANSFORM_VERSION,
    Augmentation as Augmentation,
    augmented as augmented,
    image_hash as image_hash,
)
from .job import reinforce as reinforce
from .recall import Knowledge as Knowledge, Recalled as Recalled
from .reinforce_settings import (
    AugmentSettings as AugmentSettings,
    ReinforceSettings as ReinforceSettings,
    TeacherSpec as TeacherSpec,
)
from .teachers import (
    Teacher as Teacher,
    parse_specs as parse_specs,
    parse_teachers as parse_teachers,
    tune_scale as tune_scale,
)

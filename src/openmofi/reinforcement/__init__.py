"""What teachers know of a dataset, computed once, stored, replayed. Students are trained on it elsewhere."""

from openmofi.reinforcement.augmentation import TRANSFORM_VERSION, Augmentation, augmented, image_hash
from openmofi.reinforcement.recall import Knowledge, Recalled
from openmofi.reinforcement.teachers import Teacher, TeacherSpec, parse_teachers

__all__ = [
    "TRANSFORM_VERSION", "Augmentation", "Knowledge", "Recalled", "Teacher", "TeacherSpec", "augmented", "image_hash",
    "parse_teachers",
]

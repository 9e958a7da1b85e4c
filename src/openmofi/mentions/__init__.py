"""Where a text names something; does not decide which entity is meant."""

from openmofi.mentions.detectors import (
    DetectorKind,
    MentionDetector,
    Tagger,
    UnionDetector,
    detector_fingerprint,
    detector_forms,
    detector_names,
    open_detector,
)
from openmofi.mentions.gazetteer import GazetteerDetector, GazetteerSettings

__all__ = [
    "DetectorKind",
    "GazetteerDetector",
    "GazetteerSettings",
    "MentionDetector",
    "Tagger",
    "UnionDetector",
    "detector_fingerprint",
    "detector_forms",
    "detector_names",
    "open_detector",
]

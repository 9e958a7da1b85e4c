"""Where a text names something; does not decide which entity is meant."""

from openmofi.mentions.detectors import (
    DETECTORS,
    MentionDetector,
    UnionDetector,
    detector_fingerprint,
    detector_names,
    open_detector,
)
from openmofi.mentions.gazetteer import GazetteerDetector, GazetteerSettings
from openmofi.mentions.neural import SpacyDetector, SpacySettings
from openmofi.mentions.zero_shot import GlinerDetector, GlinerSettings

__all__ = [
    "DETECTORS",
    "GazetteerDetector",
    "GazetteerSettings",
    "GlinerDetector",
    "GlinerSettings",
    "MentionDetector",
    "SpacyDetector",
    "SpacySettings",
    "UnionDetector",
    "detector_fingerprint",
    "detector_names",
    "open_detector",
]

"""Where a text names something; does not decide which entity is meant."""

from openmofi.mentions.detectors import MentionDetector, UnionDetector, detector_names, open_detector
from openmofi.mentions.gazetteer import GazetteerDetector, GazetteerSettings
from openmofi.mentions.neural import SpacyDetector, SpacySettings

__all__ = [
    "GazetteerDetector", "GazetteerSettings", "MentionDetector", "SpacyDetector", "SpacySettings", "UnionDetector",
    "detector_names", "open_detector",
]

"""Where a text names something; decides nothing about which entity is meant."""

from openmofi.mentions.detectors import detector_names, open_detector
from openmofi.mentions.gazetteer import GazetteerDetector, GazetteerSettings
from openmofi.mentions.neural import SpacyDetector, SpacySettings
from openmofi.mentions.protocol import MentionDetector
from openmofi.mentions.union import UnionDetector

__all__ = [
    "GazetteerDetector", "GazetteerSettings", "MentionDetector", "SpacyDetector", "SpacySettings", "UnionDetector",
    "detector_names", "open_detector",
]

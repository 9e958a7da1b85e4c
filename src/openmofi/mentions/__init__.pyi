from .detectors import (
    DETECTORS as DETECTORS,
    MentionDetector as MentionDetector,
    UnionDetector as UnionDetector,
    detector_fingerprint as detector_fingerprint,
    detector_names as detector_names,
    open_detector as open_detector,
)
from .gazetteer import GazetteerDetector as GazetteerDetector, GazetteerSettings as GazetteerSettings
from .neural import SpacyDetector as SpacyDetector, SpacySettings as SpacySettings
from .zero_shot import GlinerDetector as GlinerDetector, GlinerSettings as GlinerSettings

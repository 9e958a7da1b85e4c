from .detectors import (
    DetectorKind as DetectorKind,
    MentionDetector as MentionDetector,
    Tagger as Tagger,
    UnionDetector as UnionDetector,
    detector_fingerprint as detector_fingerprint,
    detector_forms as detector_forms,
    detector_names as detector_names,
    open_detector as open_detector,
)
from .gazetteer import GazetteerDetector as GazetteerDetector, GazetteerSettings as GazetteerSettings

"""Detectors by name."""

from __future__ import annotations

from collections.abc import Callable

from openmofi.errors import UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.mentions.gazetteer import GAZETTEER, GazetteerDetector
from openmofi.mentions.neural import SPACY, SpacyDetector
from openmofi.mentions.protocol import MentionDetector
from openmofi.mentions.union import UnionDetector


def open_detector(spec: str, kb: KnowledgeBase) -> MentionDetector:
    """A detector with default settings: `gazetteer`, `spacy`, or several joined by `+`, preferred first.

    Raises:
        UsageError: a name is unknown or stands twice.
        MissingExtraError: an optional dependency is not installed.
    """
    detectors = [_DETECTORS[name](kb) for name in detector_names(spec)]
    return detectors[0] if len(detectors) == 1 else UnionDetector(detectors)


def detector_names(spec: str) -> list[str]:
    """The detectors that `spec` names, without opening them.

    Raises:
        UsageError: a name is unknown or stands twice.
    """
    names = [name.strip() for name in spec.split("+")]
    unknown = [name for name in names if name not in _DETECTORS]
    if unknown:
        raise UsageError(f"There is no mention detector {unknown[0]!r}.",
                         "Choose gazetteer, spacy, or gazetteer+spacy.")
    if len(set(names)) < len(names):
        raise UsageError(f"The detectors {spec!r} name one twice.")
    return names


_DETECTORS: dict[str, Callable[[KnowledgeBase], MentionDetector]] = {
    GAZETTEER: GazetteerDetector, SPACY: lambda kb: SpacyDetector(),
}

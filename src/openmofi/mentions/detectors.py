"""Detectors by name."""

from __future__ import annotations

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
    names = [name.strip() for name in spec.split("+")]
    if len(set(names)) < len(names):
        raise UsageError(f"The detectors {spec!r} name one twice.")
    detectors = [_one(name, kb) for name in names]
    return detectors[0] if len(detectors) == 1 else UnionDetector(detectors)


def _one(name: str, kb: KnowledgeBase) -> MentionDetector:
    if name == GAZETTEER:
        return GazetteerDetector(kb)
    if name == SPACY:
        return SpacyDetector()
    raise UsageError(f"There is no mention detector {name!r}.", "Choose gazetteer, spacy, or gazetteer+spacy.")

"""What a mention detector is, several detectors as one, and detectors by name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

from openmofi.errors import UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.mentions.gazetteer import GAZETTEER, GazetteerDetector
from openmofi.mentions.neural import SPACY, SpacyDetector
from openmofi.schema import Mention


class MentionDetector(Protocol):
    """Finds the spans of texts that name something; does not decide which entity is meant."""

    name: str

    def detect(self, texts: Sequence[str]) -> list[list[Mention]]:
        """For each text its mentions, sorted by start, none overlapping another; empty texts give none."""


class UnionDetector:
    """The mentions of several detectors; `detector` names all that found a span, e.g. `"gazetteer+spacy"`.

    **Overlaps**: the detector named first wins; a later one adds what overlaps nothing yet. (Not the longest span: the
    noun chunk "red cranes" would swallow the name "cranes", and the knowledge base knows only the latter.)
    """

    def __init__(self, detectors: Sequence[MentionDetector]) -> None:
        if not detectors:
            raise UsageError("A union needs at least one detector.")
        self.detectors = tuple(detectors)
        self.name = "+".join(detector.name for detector in self.detectors)

    def detect(self, texts: Sequence[str]) -> list[list[Mention]]:
        """For each text its mentions, by start, none overlapping another."""
        detected = [detector.detect(texts) for detector in self.detectors]
        return [_merge(lists) for lists in zip(*detected, strict=True)]


def _merge(lists: Sequence[Sequence[Mention]]) -> list[Mention]:
    """Mentions of one text, one list a detector in order of preference."""
    spans: dict[tuple[int, int], list[Mention]] = {}
    for mention in itertools.chain.from_iterable(lists):
        spans.setdefault((mention.start, mention.end), []).append(mention)
    kept: list[Mention] = []
    for (start, end), same_span in spans.items():  # in order of the first detector that found it, then by start
        if all(end <= other.start or other.end <= start for other in kept):
            kept.append(Mention(start, end, same_span[0].surface, "+".join(mention.detector for mention in same_span)))
    return sorted(kept, key=lambda mention: mention.start)


def open_detector(spec: str, kb: KnowledgeBase) -> MentionDetector:
    """A detector with default settings: `gazetteer`, `spacy`, or several joined by `+`, preferred first.

    Raises:
        UsageError: a name is unknown or repeated.
        MissingExtraError: an optional dependency is not installed.
    """
    detectors = [_DETECTORS[name](kb) for name in detector_names(spec)]
    return detectors[0] if len(detectors) == 1 else UnionDetector(detectors)


def detector_names(spec: str) -> list[str]:
    """The detectors that `spec` names, without opening them.

    Raises:
        UsageError: a name is unknown or repeated.
    """
    names = [name.strip() for name in spec.split("+")]
    unknown = [name for name in names if name not in _DETECTORS]
    if unknown:
        raise UsageError(f"Unknown mention detector {unknown[0]!r}.",
                         "Use gazetteer, spacy, or gazetteer+spacy.")
    if len(set(names)) < len(names):
        raise UsageError(f"The detectors {spec!r} repeat a name.")
    return names


_DETECTORS: dict[str, Callable[[KnowledgeBase], MentionDetector]] = {
    GAZETTEER: GazetteerDetector, SPACY: lambda kb: SpacyDetector(),
}

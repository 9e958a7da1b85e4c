"""Several detectors as one, with provenance."""

from __future__ import annotations

from collections.abc import Sequence

from openmofi.errors import UsageError
from openmofi.mentions.protocol import MentionDetector
from openmofi.schema import Mention


class UnionDetector:
    """What any of several detectors finds; `detector` names all that found a span, e.g. `"gazetteer+spacy"`.

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
    finders: dict[tuple[int, int], list[int]] = {}
    for rank, mentions in enumerate(lists):
        for mention in mentions:
            finders.setdefault((mention.start, mention.end), []).append(rank)
    spelled = {(mention.start, mention.end, rank): mention
               for rank, mentions in enumerate(lists) for mention in mentions}
    kept: list[Mention] = []
    order = sorted(finders, key=lambda span: (finders[span][0], span[0]))
    for start, end in order:
        if all(end <= other.start or other.end <= start for other in kept):
            same_span = [spelled[start, end, rank] for rank in finders[start, end]]
            kept.append(Mention(start, end, same_span[0].surface, "+".join(mention.detector for mention in same_span)))
    return sorted(kept, key=lambda mention: mention.start)

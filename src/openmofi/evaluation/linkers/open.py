"""Linkers as protocols judge them: given mentions with their candidates, or whole texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.linkers.accuracy import prior_answers
from openmofi.evaluation.linkers.annotations import Annotation
from openmofi.knowledge import KnowledgeBase
from openmofi.linking import CoherenceLinker, CoherenceSettings, Linker, linker_fingerprint, open_linker
from openmofi.linking.corpora.examples import Example
from openmofi.mentions import MentionDetector, open_detector
from openmofi.schema import Link, Mention
from openmofi.storage import fingerprint

DISAMBIGUATORS = ("prior", "fusion:PATH", "coherence:KB")

_GIVEN = "given"


@dataclass(frozen=True)
class Disambiguator:
    """A linker that is asked about mentions with their candidates.

    Attributes:
        spec: as given.
        fingerprint: names what it answers.
        answers: examples → for each the identifier of a listed candidate, or `NIL`. Examples of one text belong into
            one call.
        kb: the knowledge base that it looks into, if any.
    """

    spec: str
    fingerprint: str
    answers: Callable[[Sequence[Example]], list[str]]
    kb: KnowledgeBase | None = None


def open_disambiguator(spec: str, *, detector: str = "gazetteer", device: str = "cpu") -> Disambiguator:
    """Open a linker by its spec.

    Args:
        spec: `prior`: the commonest candidate; `fusion:PATH`: a fusion decoder; `coherence:KB`: see
            `coherence_answers`.
        detector: what finds the rest of a text for `coherence`.
        device: of the fusion decoder.

    Raises:
        UsageError: there is no such linker.
        OpenMofiError: what it needs is not at its path.
    """
    kind, _, rest = spec.partition(":")
    if spec == "prior":
        return Disambiguator(spec, linker_fingerprint(spec), prior_answers)
    if kind == "fusion" and rest:
        from openmofi.linking.fusion.linker import answers_of
        from openmofi.linking.fusion.store import open_fusion

        fusion = open_fusion(rest)
        fusion.model.to(device)
        return Disambiguator(spec, linker_fingerprint(spec), partial(answers_of, fusion))
    if kind == "coherence" and rest:
        kb = KnowledgeBase.open(rest)
        named = fingerprint([kind, kb.fingerprint, asdict(CoherenceSettings()), detector])
        return Disambiguator(spec, named, partial(coherence_answers, kb, open_detector(detector, kb)), kb)
    raise UsageError(f"There is no linker {spec!r} for given candidates.",
                     f"Choose one of {', '.join(DISAMBIGUATORS)}.")


def coherence_answers(kb: KnowledgeBase, detector: MentionDetector, examples: Sequence[Example]) -> list[str]:
    """What context coherence answers: the listed candidate that goes best with the rest of the text.

    It looks names up in its own knowledge base, whose priors it takes; the rest of the text is what other examples and
    the detector find there. Where the knowledge base has none of the listed candidates under the mention's name, the
    example's prior answers.
    """
    texts = list(dict.fromkeys(example.text for example in examples))
    spans: dict[str, set[tuple[int, int]]] = {text: set() for text in texts}
    for example in examples:
        spans[example.text].add((example.start, example.end))
    mentions = [_with_given(text, spans[text], found)
                for text, found in zip(texts, detector.detect(texts), strict=True)]
    best: dict[tuple[str, int, int], list[Link]] = {}
    for text, found, links in zip(texts, mentions, CoherenceLinker(kb).link(texts, mentions), strict=True):
        for link in links:
            mention = found[link.mention]
            best.setdefault((text, mention.start, mention.end), []).append(link)
    return [_listed_answer(example, best.get((example.text, example.start, example.end), []), prior)
            for example, prior in zip(examples, prior_answers(examples), strict=True)]


def count_unknown(kb: KnowledgeBase, entities: Iterable[str], what: str) -> int:
    """How many of some entities a knowledge base lacks.

    Raises:
        OpenMofiError: it has none of them; says `what` they are.
    """
    wanted = sorted(set(entities))
    unknown = int((kb.rows(wanted) < 0).sum())
    if wanted and unknown == len(wanted):
        raise OpenMofiError(f"The knowledge base {kb.path} has none of the {unknown:,} {what}.",
                            "Give the knowledge base whose identifiers the examples have.")
    return unknown


def _with_given(text: str, given: set[tuple[int, int]], found: Sequence[Mention]) -> list[Mention]:
    """The given spans, and found mentions that overlap none of them."""
    kept = [one for one in found if all(one.end <= start or end <= one.start for start, end in given)]
    asked = [Mention(start, end, text[start:end], _GIVEN) for start, end in given]
    return sorted([*kept, *asked], key=lambda one: (one.start, one.end))


def _listed_answer(example: Example, links: Sequence[Link], prior: str) -> str:
    listed = {one.id for one in example.listed}
    return next((link.entity for link in links if link.entity in listed), prior)


@dataclass(frozen=True)
class Annotator:
    """A detector and a linker over a knowledge base.

    Attributes:
        kb, detector, linker: see there.
        fingerprint: names what it annotates.
        threshold: least score of an annotation, which must be likelier than NIL besides.
    """

    kb: KnowledgeBase
    detector: MentionDetector
    linker: Linker
    fingerprint: str
    threshold: float = 0.0

    def annotate(self, texts: Sequence[str]) -> list[list[Annotation]]:
        """For each text its annotations."""
        mentions = self.detector.detect(texts)
        return [[Annotation(found[link.mention].start, found[link.mention].end, link.entity)
                 for link in self._kept(links)]
                for found, links in zip(mentions, self.linker.link(texts, mentions), strict=True)]

    def _kept(self, links: Sequence[Link]) -> list[Link]:
        """The best link of each mention, where it is likely enough."""
        best: dict[int, Link] = {}
        nil: dict[int, float] = {}
        for link in links:
            best.setdefault(link.mention, link)
            nil[link.mention] = nil.get(link.mention, 1.0) - link.link_score
        return [link for number, link in best.items() if link.link_score >= max(nil[number], self.threshold)]


def open_annotator(spec: str, kb_folder: str, *, detector: str, threshold: float, device: str) -> Annotator:
    """A linker of the label job with its detector and knowledge base.

    Args:
        spec: `prior`, `coherence` or `fusion:PATH`.
        kb_folder: of `openmofi kb build`.
        detector: see `openmofi.mentions.open_detector`.
        threshold: see `Annotator`.
        device: of the fusion decoder.

    Raises:
        UsageError: there is no such linker or detector.
        OpenMofiError: what they need is not at its path.
    """
    named = linker_fingerprint(spec)
    kb = KnowledgeBase.open(kb_folder)
    linker: Any = open_linker(spec, kb)
    if spec.startswith("fusion:"):
        linker.fusion.model.to(device)
    return Annotator(kb, open_detector(detector, kb), linker, fingerprint([named, kb.fingerprint, detector]), threshold)

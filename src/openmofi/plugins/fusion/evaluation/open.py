"""Linkers as protocols use them: on mentions with given candidates, or on whole texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.protocol import Subject
from openmofi.knowledge import KnowledgeBase
from openmofi.linking import CoherenceLinker, CoherenceSettings, Linker, linker_fingerprint, open_linker
from openmofi.mentions import MentionDetector, detector_fingerprint, open_detector
from openmofi.plugins.fusion.corpora.examples import Example
from openmofi.plugins.fusion.evaluation.accuracy import prior_answers
from openmofi.schema import Link, Mention
from openmofi.storage import fingerprint

# An annotation is a span with an entity. It matches a gold one of the same document with the same entity whose span is
# the same (strong annotation match) or shares a character (weak). Each matches at most once. Counts are summed over
# all
# documents before precision, recall and F1 are computed (micro).


@dataclass(frozen=True, slots=True)
class Annotation:
    """A span of a document and its entity: `start` and `end` count characters, end exclusive."""

    start: int
    end: int
    entity: str


@dataclass(frozen=True, slots=True)
class Matches:
    """The outcome of matching one document's annotations.

    Attributes:
        gold: for each gold annotation whether it was matched.
        predicted: number of the linker's annotations.
    """

    gold: tuple[bool, ...]
    predicted: int

    @property
    def correct(self) -> int:
        """True positives."""
        return sum(self.gold)


@dataclass(frozen=True, slots=True)
class MicroScores:
    """Precision, recall and F1 over all annotations; 0 where the denominator is 0."""

    precision: float
    recall: float
    f1: float


def match_annotations(gold: Sequence[Annotation], predicted: Sequence[Annotation], *, weak: bool = False) -> Matches:
    """Match the annotations of one document.

    Gold annotations are matched by position. One that overlaps several unmatched ones of its entity matches the one of
    the same span, or else the first.

    Args:
        gold, predicted: the annotations, in any order; two of the same span and entity count twice.
        weak: match overlapping spans.
    """
    free = sorted(predicted, key=_span)
    matched = [False] * len(gold)
    # The same spans first: a neighbour that merely overlaps must not take their match.
    for overlap in (False, True) if weak else (False,):
        for number in sorted(range(len(gold)), key=lambda number: _span(gold[number])):
            match = (
                None
                if matched[number]
                else next((annotation for annotation in free if _fits(gold[number], annotation, overlap)), None)
            )
            if match is not None:
                free.remove(match)
                matched[number] = True
    return Matches(tuple(matched), len(predicted))


def micro_scores(matches: Sequence[Matches]) -> MicroScores:
    """Micro-averaged precision, recall and F1 of matched documents."""
    correct = sum(document.correct for document in matches)
    predicted, gold = sum(document.predicted for document in matches), sum(len(document.gold) for document in matches)
    return MicroScores(_ratio(correct, predicted), _ratio(correct, gold), _ratio(2 * correct, predicted + gold))


def _span(annotation: Annotation) -> tuple[int, int]:
    return annotation.start, annotation.end


def _fits(gold: Annotation, predicted: Annotation, overlap: bool) -> bool:
    if gold.entity != predicted.entity:
        return False
    return gold.start < predicted.end and predicted.start < gold.end if overlap else _span(gold) == _span(predicted)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else 0.0


DISAMBIGUATORS = ("prior", "fusion:PATH", "coherence:KB")

_GIVEN = "given"


@dataclass(frozen=True)
class Disambiguator:
    """A linker for mentions with given candidates.

    Attributes:
        spec: as given.
        fingerprint: identifies its answers.
        answers: examples → for each the identifier of a listed candidate, or `NIL`. Examples of the same text must be
            in one call.
        kb: the knowledge base that it uses, if any.
    """

    spec: str
    fingerprint: str
    answers: Callable[[Sequence[Example]], list[str]]
    kb: KnowledgeBase | None = None


def open_disambiguator(spec: str, *, detector: str = "gazetteer", device: str = "cpu") -> Disambiguator:
    """Open a linker by its spec.

    Args:
        spec: `prior`: the most common candidate; `fusion:PATH`: a fusion decoder; `coherence:KB`: see
            `coherence_answers`.
        detector: finds the other mentions of a text, for `coherence`.
        device: of the fusion decoder.

    Raises:
        UsageError: the linker is unknown.
        OpenMofiError: its path has no fusion decoder or knowledge base.
    """
    kind, _, rest = spec.partition(":")
    if spec == "prior":
        return Disambiguator(spec, linker_fingerprint(spec), prior_answers)
    if kind == "fusion" and rest:
        from openmofi.plugins.fusion.linker import answers_of
        from openmofi.plugins.fusion.store import open_fusion

        fusion = open_fusion(rest)
        fusion.model.to(device)
        return Disambiguator(spec, linker_fingerprint(spec), partial(answers_of, fusion))
    if kind == "coherence" and rest:
        kb = KnowledgeBase.open(rest)
        identity = fingerprint([kind, kb.fingerprint, asdict(CoherenceSettings()), detector_fingerprint(detector)])
        return Disambiguator(spec, identity, partial(coherence_answers, kb, open_detector(detector, kb)), kb)
    raise UsageError(f"Unknown value {spec!r} for linker, with given candidates.", f"Use {', '.join(DISAMBIGUATORS)}.")


def coherence_answers(kb: KnowledgeBase, detector: MentionDetector, examples: Sequence[Example]) -> list[str]:
    """The answers of context coherence: the listed candidate that best fits the rest of the text.

    Names and priors come from its own knowledge base; the rest of the text are the mentions of other examples and of
    the detector. Where the knowledge base has none of the listed candidates under the mention's name, the example's
    prior decides.
    """
    texts = list(dict.fromkeys(example.text for example in examples))
    spans: dict[str, set[tuple[int, int]]] = {text: set() for text in texts}
    for example in examples:
        spans[example.text].add((example.start, example.end))
    mentions = [
        _with_given(text, spans[text], detected) for text, detected in zip(texts, detector.detect(texts), strict=True)
    ]
    links_of: dict[tuple[str, int, int], list[Link]] = {}
    for text, of_text, links in zip(texts, mentions, CoherenceLinker(kb).link(texts, mentions), strict=True):
        for link in links:
            mention = of_text[link.mention]
            links_of.setdefault((text, mention.start, mention.end), []).append(link)
    return [
        _listed_answer(example, links_of.get((example.text, example.start, example.end), []), prior)
        for example, prior in zip(examples, prior_answers(examples), strict=True)
    ]


def count_unknown(kb: KnowledgeBase, entities: Iterable[str], what: str) -> int:
    """How many of the entities a knowledge base lacks; `what` describes them in the error.

    Raises:
        OpenMofiError: it has none of them.
    """
    distinct = sorted(set(entities))
    unknown = int((kb.rows(distinct) < 0).sum())
    if distinct and unknown == len(distinct):
        raise OpenMofiError(
            f"The knowledge base {kb.path} has none of the {unknown:,} {what}.",
            "Give the knowledge base whose identifiers the examples use.",
        )
    return unknown


def in_parts(subject: Subject, parts: Sequence[Any], link: Callable[[Any], list[Any]]) -> list[Any]:
    """The outputs of `link` for each part, concatenated, with progress."""
    subject.progress.begin("link", len(parts))
    outputs: list[Any] = []
    for part in parts:
        outputs += link(part)
        subject.progress.advance({"rows": len(part)})
    return outputs


def _with_given(text: str, given: set[tuple[int, int]], detected: Sequence[Mention]) -> list[Mention]:
    """The given spans, and detected mentions that overlap none of them."""
    others = [
        mention for mention in detected if all(mention.end <= start or end <= mention.start for start, end in given)
    ]
    mentions = [Mention(start, end, text[start:end], _GIVEN) for start, end in given]
    return sorted([*others, *mentions], key=lambda mention: (mention.start, mention.end))


def _listed_answer(example: Example, links: Sequence[Link], prior: str) -> str:
    listed = {candidate.id for candidate in example.listed}
    return next((link.entity for link in links if link.entity in listed), prior)


@dataclass(frozen=True)
class Annotator:
    """A detector and a linker over a knowledge base.

    Attributes:
        kb, detector, linker: its parts.
        fingerprint: identifies its annotations.
        threshold: minimum score of an annotation, which must also exceed the probability of NIL.
    """

    kb: KnowledgeBase
    detector: MentionDetector
    linker: Linker
    fingerprint: str
    threshold: float = 0.0

    def annotate(self, texts: Sequence[str]) -> list[list[Annotation]]:
        """The annotations of each text."""
        mentions = self.detector.detect(texts)
        return [
            [
                Annotation(of_text[link.mention].start, of_text[link.mention].end, link.entity)
                for link in self._kept(links)
            ]
            for of_text, links in zip(mentions, self.linker.link(texts, mentions), strict=True)
        ]

    def _kept(self, links: Sequence[Link]) -> list[Link]:
        """The best link of each mention, if its score suffices."""
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
        UsageError: the linker or detector is unknown.
        OpenMofiError: a path has no fusion decoder or knowledge base.
    """
    identity = linker_fingerprint(spec)
    kb = KnowledgeBase.open(kb_folder)
    linker: Any = open_linker(spec, kb)
    if spec.startswith("fusion:"):
        linker.fusion.model.to(device)
    identity = fingerprint([identity, kb.fingerprint, detector_fingerprint(detector)])
    return Annotator(kb, open_detector(detector, kb), linker, identity, threshold)

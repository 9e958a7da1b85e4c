"""End-to-end linking: a detector and a linker annotate texts with entities.

The definitions are GERBIL's. An annotation is a span with an entity. It matches a gold one of the same document with
the same entity whose span is the same (strong annotation match) or shares a character (weak). Each matches at most
once. Counts are summed over all documents before precision, recall and F1 are computed (micro).

The documents are the texts of a table of examples; the examples of a text are its gold annotations; entities are
identifiers of the knowledge base. Precision is meaningful only where texts are fully annotated.

Data: A table of `openmofi link examples` whose texts are fully annotated, with identifiers of the knowledge base.
Layout: one row per mention, see docs/linking.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openmofi.bootstrap import Interval, ratio_interval
from openmofi.config import Fraction, Settings
from openmofi.errors import UsageError
from openmofi.evaluation.protocol import LINKER, EvaluationProtocol, Measured, Subject
from openmofi.evaluation.result import items_table
from openmofi.knowledge import KnowledgeBase
from openmofi.linking import Linker, linker_fingerprint, open_linker
from openmofi.mentions import MentionDetector, detector_fingerprint, open_detector
from openmofi.plugins.fusion.disambiguation import count_unknown, in_parts, require_gold
from openmofi.plugins.fusion.examples import NIL, LinkExample
from openmofi.plugins.fusion.zelda import judged_examples
from openmofi.schema import Link
from openmofi.storage import fingerprint


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
        """The number of true positives."""
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
        """Return the annotations of each text."""
        mentions = self.detector.detect(texts)
        return [
            [
                Annotation(of_text[link.mention].start, of_text[link.mention].end, link.entity)
                for link in self._best_links(links)
            ]
            for of_text, links in zip(mentions, self.linker.link(texts, mentions), strict=True)
        ]

    def _best_links(self, links: Sequence[Link]) -> list[Link]:
        """Return the best link of each mention whose score suffices."""
        best: dict[int, Link] = {}
        nil: dict[int, float] = {}
        for link in links:
            best.setdefault(link.mention, link)
            nil[link.mention] = nil.get(link.mention, 1.0) - link.link_score
        return [link for number, link in best.items() if link.link_score >= max(nil[number], self.threshold)]


def open_annotator(spec: str, kb_folder: str, *, detector: str, threshold: float, device: str) -> Annotator:
    """Open a linker of the label job with its detector and knowledge base.

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


STRONG, WEAK = "strong", "weak"

_PART = 500


@dataclass(frozen=True)
class LinkingSettings(Settings):
    """Settings of `linking`.

    Attributes:
        kb: folder of the knowledge base whose identifiers the examples use.
        detector: see `openmofi.mentions.open_detector`.
        threshold: minimum score of an annotation, which must also exceed the probability of NIL.
        splits: use only these; all but `train` and `validation` by default.
    """

    kb: str = ""
    detector: str = "gazetteer"
    threshold: Fraction = 0.0
    splits: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Document:
    """A text of a split with its gold annotations (InKB)."""

    split: str
    text: str
    gold: tuple[Annotation, ...]


def measure(subject: Subject) -> Measured:
    """Measure a linker by the protocol of this module."""
    settings: LinkingSettings = subject.settings
    if not settings.kb:
        raise UsageError("End-to-end linking needs a knowledge base.", "Add --set kb=DIR.")
    annotator = open_annotator(
        subject.linker, settings.kb, detector=settings.detector, threshold=settings.threshold, device=subject.device
    )
    documents = _documents(judged_examples(subject.data, settings.splits))
    golds = {annotation.entity for document in documents for annotation in document.gold}
    unknown = count_unknown(annotator.kb, golds, "gold entities")
    texts = [document.text for document in documents]
    predicted = in_parts(
        subject, [texts[start : start + _PART] for start in range(0, len(texts), _PART)], annotator.annotate
    )
    matches = {
        way: [
            match_annotations(document.gold, annotations, weak=way == WEAK)
            for document, annotations in zip(documents, predicted, strict=True)
        ]
        for way in (STRONG, WEAK)
    }
    metrics, intervals = _metrics(matches, [document.split for document in documents])
    return Measured(
        metrics=metrics,
        intervals=intervals,
        interval_over="documents",
        counts={
            "documents": len(documents),
            "gold": sum(len(document.gold) for document in documents),
            "annotations": sum(map(len, predicted)),
            "gold_entities": len(golds),
            "gold_entities_not_in_kb": unknown,
        },
        data_fingerprint=fingerprint(
            [
                [document.split, document.text, [[gold.start, gold.end, gold.entity] for gold in document.gold]]
                for document in documents
            ]
        ),
        items=_items(documents, matches),
        encoder={"spec": subject.linker, "fingerprint": annotator.fingerprint},
    )


def _documents(examples: Sequence[LinkExample]) -> list[_Document]:
    gold: dict[tuple[str, str], dict[Annotation, None]] = {}
    for example in examples:
        annotations = gold.setdefault((example.split, example.text), {})
        if example.gold != NIL:
            annotations[Annotation(example.start, example.end, example.gold)] = None
    require_gold(gold.values())
    return [_Document(split, text, tuple(annotations)) for (split, text), annotations in gold.items()]


def _metrics(matches: dict[str, list[Matches]], splits: list[str]) -> tuple[dict[str, float], dict[str, Interval]]:
    metrics: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    for way, of_all in matches.items():
        parts = {"": of_all} | {
            f"{name}/": [document for document, split in zip(of_all, splits, strict=True) if split == name]
            for name in dict.fromkeys(splits)
        }
        for part, documents in parts.items():
            scores = micro_scores(documents)
            correct, gold, predicted = np.array(
                [[document.correct, len(document.gold), document.predicted] for document in documents]
            ).T
            for name, value, numerators, denominators in (
                ("f1", scores.f1, 2 * correct, gold + predicted),
                ("precision", scores.precision, correct, predicted),
                ("recall", scores.recall, correct, gold),
            ):
                metrics[f"{part}micro_{name}_{way}"] = value
                if denominators.any():
                    intervals[f"{part}micro_{name}_{way}"] = ratio_interval(numerators, denominators)
    return metrics, intervals


def _items(documents: Sequence[_Document], matches: dict[str, list[Matches]]) -> Any:
    """Gold annotations: their mean is the recall."""
    golds = [(number, gold) for number, document in enumerate(documents) for gold in document.gold]
    return items_table(
        [f"{number}:{gold.start}-{gold.end}:{gold.entity}" for number, gold in golds],
        [str(number) for number, _ in golds],
        {
            f"micro_recall_{way}": [hit for document in of_all for hit in document.gold]
            for way, of_all in matches.items()
        },
        [documents[number].split for number, _ in golds],
    )


PROTOCOL = EvaluationProtocol(
    name="linking",
    version=1,
    headline=f"micro_f1_{STRONG}",
    settings=LinkingSettings,
    measure=measure,
    judges=LINKER,
    rule="Gold annotations without an entity (NIL) are left out (InKB); entities that the knowledge base lacks count "
    "as missed.",
)

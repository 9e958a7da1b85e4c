"""End-to-end linking: texts are given, and a detector with a linker says which spans mean which entities.

See `openmofi.evaluation.linkers.annotations` for the definitions, which are GERBIL's. The documents are the texts of a
table of examples, their gold annotations all examples of a text; entities are identifiers of the knowledge base.
Precision means something only where the texts are annotated in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openmofi.config import Fraction, Settings
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.linkers.annotations import Annotation, Matches, match_annotations, micro_scores
from openmofi.evaluation.linkers.data import judged_examples
from openmofi.evaluation.linkers.open import Annotator, count_unknown, open_annotator
from openmofi.evaluation.metrics.bootstrap import Interval, ratio_interval
from openmofi.evaluation.protocol import LINKER, EvaluationProtocol, Measured, Subject
from openmofi.evaluation.result import items_table
from openmofi.linking.corpora.examples import NIL, Example
from openmofi.storage import fingerprint

STRONG, WEAK = "strong", "weak"

_AT_ONCE = 500


@dataclass(frozen=True)
class LinkingSettings(Settings):
    """Settings of `linking`.

    Attributes:
        kb: folder of the knowledge base whose identifiers the examples have.
        detector: see `openmofi.mentions.open_detector`.
        threshold: least score of an annotation; it must be likelier than NIL besides.
        splits: only these; all but `train` and `validation` by default.
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
    """See this module's head."""
    settings: LinkingSettings = subject.settings
    if not settings.kb:
        raise UsageError("End-to-end linking needs a knowledge base.", "Add --set kb=DIR.")
    annotator = open_annotator(subject.linker, settings.kb, detector=settings.detector, threshold=settings.threshold,
                               device=subject.device)
    documents = _documents(judged_examples(subject.data, settings.splits))
    golds = {one.entity for document in documents for one in document.gold}
    unknown = count_unknown(annotator.kb, golds, "gold entities")
    found = _annotated(subject, annotator, documents)
    matches = {way: [match_annotations(document.gold, some, weak=way == WEAK)
                     for document, some in zip(documents, found, strict=True)] for way in (STRONG, WEAK)}
    metrics, intervals = _figures(matches, [document.split for document in documents])
    return Measured(
        metrics=metrics, intervals=intervals, interval_over="documents",
        counts={"documents": len(documents), "gold": sum(len(document.gold) for document in documents),
                "annotations": sum(map(len, found)), "gold_entities": len(golds), "gold_entities_not_in_kb": unknown},
        data_fingerprint=fingerprint([[document.split, document.text, [[one.start, one.end, one.entity]
                                                                       for one in document.gold]]
                                      for document in documents]),
        items=_items(documents, matches), encoder={"spec": subject.linker, "fingerprint": annotator.fingerprint})


def _documents(examples: Sequence[Example]) -> list[_Document]:
    gold: dict[tuple[str, str], dict[Annotation, None]] = {}
    for one in examples:
        of_text = gold.setdefault((one.split, one.text), {})
        if one.gold != NIL:
            of_text[Annotation(one.start, one.end, one.gold)] = None
    documents = [_Document(split, text, tuple(found)) for (split, text), found in gold.items()]
    if not any(document.gold for document in documents):
        raise OpenMofiError("No example has an entity as its gold: there is nothing to judge.",
                            "Give examples whose gold is one of their candidates.")
    return documents


def _annotated(subject: Subject, annotator: Annotator, documents: Sequence[_Document]) -> list[list[Annotation]]:
    starts = range(0, len(documents), _AT_ONCE)
    subject.progress.begin("link", len(starts))
    found: list[list[Annotation]] = []
    for start in starts:
        texts = [document.text for document in documents[start:start + _AT_ONCE]]
        found += annotator.annotate(texts)
        subject.progress.advance({"rows": len(texts)})
    return found


def _figures(matches: dict[str, list[Matches]], splits: list[str]) -> tuple[dict[str, float], dict[str, Interval]]:
    names = list(dict.fromkeys(splits))
    metrics: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    for way, all_of in matches.items():
        parts = {"": all_of} | {f"{name}/": [one for one, split in zip(all_of, splits, strict=True) if split == name]
                                for name in names}
        for part, some in parts.items():
            scores = micro_scores(some)
            right = np.array([one.right for one in some])
            gold, found = np.array([len(one.gold) for one in some]), np.array([one.found for one in some])
            for name, value, above, below in (("f1", scores.f1, 2 * right, gold + found),
                                              ("precision", scores.precision, right, found),
                                              ("recall", scores.recall, right, gold)):
                metrics[f"{part}micro_{name}_{way}"] = value
                if below.any():
                    intervals[f"{part}micro_{name}_{way}"] = ratio_interval(above, below)
    return metrics, intervals


def _items(documents: Sequence[_Document], matches: dict[str, list[Matches]]) -> Any:
    """Gold annotations: their mean is the recall."""
    numbers = [number for number, document in enumerate(documents) for _ in document.gold]
    golds = [one for document in documents for one in document.gold]
    names = [f"{number}:{one.start}-{one.end}:{one.entity}" for number, one in zip(numbers, golds, strict=True)]
    return items_table(names, [str(number) for number in numbers],
                       {f"micro_recall_{way}": [hit for one in some for hit in one.gold]
                        for way, some in matches.items()}, [documents[number].split for number in numbers])


PROTOCOL = EvaluationProtocol(
    name="linking", version=1, headline=f"micro_f1_{STRONG}", settings=LinkingSettings, measure=measure, judges=LINKER,
    rule="Gold annotations without an entity (NIL) are left out (InKB); entities that the knowledge base lacks count "
         "as missed.",
    data="A table of `openmofi link examples` whose texts are annotated in full, with identifiers of the knowledge "
         "base. Layout: a row a mention, see docs/linking.md.")

"""End-to-end linking: a detector and a linker annotate texts with entities.

See `openmofi.plugins.fusion.evaluation.open` for the definitions, which are GERBIL's. The documents are the
texts of a table of examples; the examples of a text are its gold annotations; entities are identifiers of the
knowledge base.
Precision is meaningful only where texts are fully annotated.

Data: A table of `openmofi link examples` whose texts are fully annotated, with identifiers of the knowledge base.
Layout: one row per mention, see docs/linking.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openmofi.bootstrap import Interval, ratio_interval
from openmofi.config import Fraction, Settings
from openmofi.errors import UsageError
from openmofi.evaluation.protocol import LINKER, EvaluationProtocol, Measured, Subject
from openmofi.evaluation.result import items_table
from openmofi.plugins.fusion.corpora.examples import NIL, Example
from openmofi.plugins.fusion.evaluation.accuracy import require_gold
from openmofi.plugins.fusion.evaluation.data import judged_examples
from openmofi.plugins.fusion.evaluation.open import (
    Annotation,
    Matches,
    count_unknown,
    in_parts,
    match_annotations,
    micro_scores,
    open_annotator,
)
from openmofi.storage import fingerprint

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
    """See the module."""
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


def _documents(examples: Sequence[Example]) -> list[_Document]:
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

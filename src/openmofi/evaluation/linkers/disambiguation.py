"""Entity disambiguation: mentions are given with their candidates, and a linker says which one is meant.

See `openmofi.evaluation.linkers.accuracy` for the definitions. `macro_accuracy_inkb` is what ZELDA publishes: the mean
over its nine test splits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np

from openmofi.config import NonNegativeInt, Settings
from openmofi.evaluation.linkers.accuracy import Judged, judge, scores_of_judged
from openmofi.evaluation.linkers.data import judged_examples
from openmofi.evaluation.linkers.open import Disambiguator, count_unknown, open_disambiguator
from openmofi.evaluation.metrics.bootstrap import Interval
from openmofi.evaluation.protocol import LINKER, EvaluationProtocol, Measured, Subject
from openmofi.evaluation.result import items_table
from openmofi.linking.corpora.examples import Example
from openmofi.storage import fingerprint

ACCURACY, SHADOWED = "accuracy_inkb", "shadowed_accuracy_inkb"

_AT_ONCE = 2000


@dataclass(frozen=True)
class DisambiguationSettings(Settings):
    """Settings of `disambiguation`.

    Attributes:
        splits: only these; all but `train` and `validation` by default.
        candidates: most candidates of a mention, the commonest ones; 0 for the whole list, as published.
        detector: finds what else a text names, for `coherence`.
    """

    splits: tuple[str, ...] = ()
    candidates: NonNegativeInt = 0
    detector: str = "gazetteer"



def measure(subject: Subject) -> Measured:
    """See this module's head."""
    settings: DisambiguationSettings = subject.settings
    linker = open_disambiguator(subject.linker, detector=settings.detector, device=subject.device)
    examples = judged_examples(subject.data, settings.splits, candidates=settings.candidates)
    if linker.kb is not None:
        count_unknown(linker.kb, (one.id for example in examples for one in example.listed), "candidates")
    answers = _answers(subject, linker, examples)
    judged = judge(examples, answers)
    scores = scores_of_judged(judged)
    metrics, intervals = _figures(scores)
    return Measured(
        metrics=metrics, intervals=intervals, interval_over="mentions",
        counts={"mentions": scores["mentions"], "nil": len(examples) - scores["mentions"],
                "shadowed": scores["shadowed_mentions"], "splits": len(scores["splits"])},
        data_fingerprint=fingerprint([asdict(example) for example in examples]),
        items=_items(judged), encoder={"spec": linker.spec, "fingerprint": linker.fingerprint},
        facts={"splits": scores["splits"], "by_candidates": scores["by_candidates"],
               "wrong": _wrong(judged, examples, answers, subject.failures)})


def _answers(subject: Subject, linker: Disambiguator, examples: Sequence[Example]) -> list[str]:
    parts = list(_parts(examples))
    subject.progress.begin("link", len(parts))
    answers: list[str] = []
    for part in parts:
        answers += linker.answers(part)
        subject.progress.advance({"rows": len(part)})
    return answers


def _parts(examples: Sequence[Example]) -> Iterator[list[Example]]:
    """Some thousands at a time; neighbours of one text stay together."""
    part: list[Example] = []
    for _, some in groupby(examples, key=lambda one: one.text):
        part += some
        if len(part) >= _AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _figures(scores: dict[str, Any]) -> tuple[dict[str, float], dict[str, Interval]]:
    metrics = {ACCURACY: scores["accuracy"], f"macro_{ACCURACY}": scores["macro_accuracy"],
               "macro_ceiling": scores["macro_ceiling"], "macro_prior": scores["macro_prior"]}
    intervals: dict[str, Interval] = {f"macro_{ACCURACY}": scores["macro_accuracy_interval"]}
    parts = {"": scores, **{f"{split}/": of for split, of in scores["splits"].items()}}
    for part, of in parts.items():
        metrics |= {f"{part}{ACCURACY}": of["accuracy"], f"{part}ceiling": of["ceiling"], f"{part}prior": of["prior"]}
        intervals[f"{part}{ACCURACY}"] = of["accuracy_interval"]
        if of["shadowed"] is not None:
            metrics[f"{part}{SHADOWED}"] = of["shadowed"]
            intervals[f"{part}{SHADOWED}"] = of["shadowed_interval"]
    metrics |= {f"candidates_{bucket}/{ACCURACY}": of["accuracy"] for bucket, of in scores["by_candidates"].items()}
    return metrics, intervals


def _items(judged: Judged) -> Any:
    names = [str(row) for row in judged.rows.tolist()]
    shadowed = np.where(judged.shadowed, judged.right, np.nan)
    return items_table(names, names, {ACCURACY: judged.right, SHADOWED: shadowed}, judged.splits.tolist())


def _wrong(judged: Judged, examples: Sequence[Example], answers: Sequence[str], count: int) -> list[dict[str, Any]]:
    """Some mentions that could have been answered right and were not, evenly spread."""
    rows = judged.rows[judged.reachable & ~judged.right].tolist()
    step = max(1, len(rows) // count) if count else 1
    return [{"text": examples[row].text, "mention": examples[row].mention, "start": examples[row].start,
             "gold": examples[row].gold, "answer": answers[row]} for row in rows[::step][:count]]


PROTOCOL = EvaluationProtocol(
    name="disambiguation", version=1, headline=ACCURACY, settings=DisambiguationSettings, measure=measure,
    judges=LINKER, rule="Mentions whose gold is no entity (NIL) are left out; one whose gold is not listed is wrong.",
    data="A table of `openmofi link examples`, or ZELDA (https://github.com/flairNLP/zelda; texts and candidate lists "
         "under the terms of their sources). Layout: DIR/test_data/jsonl/test_*.jsonl, "
         "DIR/other/zelda_mention_entities_counter.pickle, DIR/other/entity_descriptions.jsonl.")

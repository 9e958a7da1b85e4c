"""Entity disambiguation: a linker chooses among the given candidates of each mention.

See `openmofi.plugins.fusion.evaluation.accuracy` for the definitions. `macro_accuracy_inkb` is what ZELDA publishes:
the mean over its nine test splits.

Data: A table of `openmofi link examples`, or ZELDA (https://github.com/flairNLP/zelda; texts and candidate lists under
the terms of their sources). Layout: DIR/test_data/jsonl/test_*.jsonl, DIR/other/zelda_mention_entities_counter.pickle,
DIR/other/entity_descriptions.jsonl.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np

from openmofi.bootstrap import Interval
from openmofi.config import NonNegativeInt, Settings
from openmofi.evaluation.protocol import LINKER, EvaluationProtocol, Measured, Subject
from openmofi.evaluation.result import items_table
from openmofi.plugins.fusion.corpora.examples import Example
from openmofi.plugins.fusion.evaluation.accuracy import JudgedMentions, judge, scores_of_judged
from openmofi.plugins.fusion.evaluation.data import judged_examples
from openmofi.plugins.fusion.evaluation.open import count_unknown, in_parts, open_disambiguator
from openmofi.storage import fingerprint

ACCURACY, SHADOWED = "accuracy_inkb", "shadowed_accuracy_inkb"

_PART = 2000


@dataclass(frozen=True)
class DisambiguationSettings(Settings):
    """Settings of `disambiguation`.

    Attributes:
        splits: use only these; all but `train` and `validation` by default.
        candidates: use at most this many candidates of a mention, the most common ones; 0 for all, as published.
        detector: finds the other mentions of a text, for `coherence`.
    """

    splits: tuple[str, ...] = ()
    candidates: NonNegativeInt = 0
    detector: str = "gazetteer"


def measure(subject: Subject) -> Measured:
    """See the module."""
    settings: DisambiguationSettings = subject.settings
    linker = open_disambiguator(subject.linker, detector=settings.detector, device=subject.device)
    examples = judged_examples(subject.data, settings.splits, candidates=settings.candidates)
    if linker.kb is not None:
        count_unknown(linker.kb, (candidate.id for example in examples for candidate in example.listed), "candidates")
    answers = in_parts(subject, list(_parts(examples)), linker.answers)
    judged = judge(examples, answers)
    scores = scores_of_judged(judged)
    metrics, intervals = _metrics(scores)
    return Measured(
        metrics=metrics,
        intervals=intervals,
        interval_over="mentions",
        counts={
            "mentions": scores["mentions"],
            "nil": len(examples) - scores["mentions"],
            "shadowed": scores["shadowed_mentions"],
            "splits": len(scores["splits"]),
        },
        data_fingerprint=fingerprint([asdict(example) for example in examples]),
        items=_items(judged),
        encoder={"spec": linker.spec, "fingerprint": linker.fingerprint},
        facts={
            "splits": scores["splits"],
            "by_candidates": scores["by_candidates"],
            "wrong": _wrong(judged, examples, answers, subject.failures),
        },
    )


def _parts(examples: Sequence[Example]) -> Iterator[list[Example]]:
    """Parts of at least `_PART` examples; neighbours of the same text stay together."""
    part: list[Example] = []
    for _, of_text in groupby(examples, key=lambda example: example.text):
        part += of_text
        if len(part) >= _PART:
            yield part
            part = []
    if part:
        yield part


def _metrics(scores: dict[str, Any]) -> tuple[dict[str, float], dict[str, Interval]]:
    metrics = {
        ACCURACY: scores["accuracy"],
        f"macro_{ACCURACY}": scores["macro_accuracy"],
        "macro_ceiling": scores["macro_ceiling"],
        "macro_prior": scores["macro_prior"],
    }
    intervals: dict[str, Interval] = {f"macro_{ACCURACY}": scores["macro_accuracy_interval"]}
    parts = {"": scores, **{f"{split}/": values for split, values in scores["splits"].items()}}
    for part, values in parts.items():
        metrics |= {
            f"{part}{ACCURACY}": values["accuracy"],
            f"{part}ceiling": values["ceiling"],
            f"{part}prior": values["prior"],
        }
        intervals[f"{part}{ACCURACY}"] = values["accuracy_interval"]
        if values["shadowed"] is not None:
            metrics[f"{part}{SHADOWED}"] = values["shadowed"]
            intervals[f"{part}{SHADOWED}"] = values["shadowed_interval"]
    metrics |= {
        f"candidates_{bucket}/{ACCURACY}": values["accuracy"] for bucket, values in scores["by_candidates"].items()
    }
    return metrics, intervals


def _items(judged: JudgedMentions) -> Any:
    names = [str(row) for row in judged.rows.tolist()]
    shadowed = np.where(judged.shadowed, judged.correct, np.nan)
    return items_table(names, names, {ACCURACY: judged.correct, SHADOWED: shadowed}, judged.splits.tolist())


def _wrong(
    judged: JudgedMentions, examples: Sequence[Example], answers: Sequence[str], count: int
) -> list[dict[str, Any]]:
    """At most `count` wrong answers to mentions whose gold is listed, evenly spread."""
    rows = judged.rows[judged.reachable & ~judged.correct].tolist()
    step = max(1, len(rows) // count) if count else 1
    return [
        {
            "text": examples[row].text,
            "mention": examples[row].mention,
            "start": examples[row].start,
            "gold": examples[row].gold,
            "answer": answers[row],
        }
        for row in rows[::step][:count]
    ]


PROTOCOL = EvaluationProtocol(
    name="disambiguation",
    version=1,
    headline=ACCURACY,
    settings=DisambiguationSettings,
    measure=measure,
    judges=LINKER,
    rule="Mentions whose gold is not an entity (NIL) are left out; one whose gold is not listed is wrong.",
)

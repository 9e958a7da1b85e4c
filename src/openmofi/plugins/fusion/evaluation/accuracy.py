"""Disambiguation with given candidates: the share of mentions that get the correct entity.

As in ZELDA (Milich and Akbik, EACL 2023): accuracy over mentions whose gold is an entity (InKB), for each split, and
the macro average over splits. A mention whose gold is not among its candidates counts as wrong; the share of the others
is the ceiling. The prior, which always answers the name's most common entity, is reported too. A mention is shadowed if
a more common entity of the same name hides the gold (ShadowLink, arXiv 2108.10949).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.arrays import Bools
from openmofi.bootstrap import Interval, bootstrap_interval, macro_interval
from openmofi.errors import OpenMofiError
from openmofi.plugins.fusion.corpora.examples import NIL, Example

BUCKETS = (0, 1, 2, 4, 8, 16)
"""Smallest number of candidates of each bucket."""


@dataclass(frozen=True)
class JudgedMentions:
    """Mentions with a gold entity.

    Attributes:
        rows: (n,) int64, positions among the examples.
        splits: (n,) str, the split of each.
        candidates: (n,) int64, number of listed candidates.
        correct: (n,) whether the answer is the gold.
        prior: (n,) whether the most common candidate is the gold.
        reachable: (n,) whether the gold is listed.
        shadowed: (n,) whether another candidate is more common than the gold.
    """

    rows: NDArray[np.int64]
    splits: NDArray[np.str_]
    candidates: NDArray[np.int64]
    correct: Bools
    prior: Bools
    reachable: Bools
    shadowed: Bools

    def take(self, mask: Bools) -> JudgedMentions:
        """The mentions at which `mask`, (n,), is true."""
        return JudgedMentions(*(getattr(self, column.name)[mask] for column in fields(self)))


def prior_answers(examples: Sequence[Example]) -> list[str]:
    """Each example's most common listed candidate, the first of equals; `NIL` without candidates."""
    return [
        max(listed, key=lambda candidate: candidate.prior).id if (listed := example.listed) else NIL
        for example in examples
    ]


def judge(examples: Sequence[Example], answers: Sequence[str]) -> JudgedMentions:
    """Compare answers, identifiers or `NIL`, with the gold of the examples that have a gold entity.

    Raises:
        OpenMofiError: no example has a gold entity, or the number of answers differs.
    """
    if len(answers) != len(examples):
        raise OpenMofiError(
            f"There are {len(answers):,} answers to {len(examples):,} examples.",
            "Give one answer for each example, in order.",
        )
    require_gold(example.gold != NIL for example in examples)
    rows = [row for row, example in enumerate(examples) if example.gold != NIL]
    judged = [examples[row] for row in rows]
    golds, priors = np.array([example.gold for example in judged]), np.array(prior_answers(judged))
    return JudgedMentions(
        np.array(rows, np.int64),
        np.array([example.split for example in judged]),
        np.array([len(example.listed) for example in judged], np.int64),
        np.array([answers[row] for row in rows]) == golds,
        priors == golds,
        np.array([example.reachable for example in judged]),
        np.array([example.shadowed for example in judged]),
    )


def require_gold(golds: Iterable[object]) -> None:
    """Check that there is a gold entity: that any of `golds` is true.

    Raises:
        OpenMofiError: there is none.
    """
    if not any(golds):
        raise OpenMofiError(
            "No example has a gold entity, so there is nothing to judge.",
            "Give examples whose gold is one of their candidates.",
        )


def disambiguation_scores(examples: Sequence[Example], answers: Sequence[str]) -> dict[str, Any]:
    """All metrics, as JSON values.

    Args:
        examples: mentions of one or several splits.
        answers: for each the identifier of a candidate, or `NIL`.

    Returns:
        `mentions` (InKB) and `nil` (left out); `accuracy`, `ceiling`, `prior` over all mentions, and prefixed with
        `macro_` the mean over splits; `shadowed` over `shadowed_mentions`, `None` without any; 95 % bootstrap intervals
        over mentions as `NAME_interval`; `splits` and `by_candidates`: the same for each split and each number of
        candidates (`"2-3"`), without macro averages.

    Raises:
        OpenMofiError: see `judge`.
    """
    return scores_of_judged(judge(examples, answers)) | {"nil": sum(example.gold == NIL for example in examples)}


def scores_of_judged(judged: JudgedMentions) -> dict[str, Any]:
    """See `disambiguation_scores`, without `nil`."""
    splits = {name: judged.take(judged.splits == name) for name in dict.fromkeys(judged.splits.tolist())}
    return {
        **_scores(judged),
        "macro_accuracy": _macro([split.correct for split in splits.values()]),
        "macro_ceiling": _macro([split.reachable for split in splits.values()]),
        "macro_prior": _macro([split.prior for split in splits.values()]),
        "macro_accuracy_interval": macro_interval([split.correct for split in splits.values()]),
        "splits": {name: _scores(split) for name, split in splits.items()},
        "by_candidates": {name: _scores(judged.take(mask)) for name, mask in _buckets(judged) if mask.any()},
    }


def _scores(judged: JudgedMentions) -> dict[str, Any]:
    shadowed = judged.correct[judged.shadowed]
    return {
        "mentions": len(judged.rows),
        "accuracy": float(judged.correct.mean()),
        "accuracy_interval": _interval(judged.correct),
        "ceiling": float(judged.reachable.mean()),
        "prior": float(judged.prior.mean()),
        "shadowed_mentions": len(shadowed),
        "shadowed": float(shadowed.mean()) if len(shadowed) else None,
        "shadowed_interval": _interval(shadowed) if len(shadowed) else None,
    }


def _macro(splits: Sequence[Bools]) -> float:
    return float(np.mean([values.mean() for values in splits]))


def _interval(correct: Bools) -> Interval:
    return bootstrap_interval(correct, np.arange(len(correct)))


def _buckets(judged: JudgedMentions) -> list[tuple[str, Bools]]:
    last = BUCKETS[-1]
    buckets = [
        (str(low) if high == low + 1 else f"{low}-{high - 1}", (judged.candidates >= low) & (judged.candidates < high))
        for low, high in pairwise(BUCKETS)
    ]
    return [*buckets, (f"{last}+", judged.candidates >= last)]

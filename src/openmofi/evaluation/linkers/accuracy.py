"""Disambiguation with given candidates: which share of the mentions is answered with the right entity.

As ZELDA counts (Milich and Akbik, EACL 2023): accuracy over mentions whose gold is an entity (InKB), for each split,
and the macro average over splits. A mention whose gold is not among its candidates counts as wrong: the share of the
others is the ceiling. The prior, which always answers the name's commonest entity, stands beside; a mention is shadowed
where a commoner entity of the same name hides the gold (ShadowLink, arXiv 2108.10949).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.errors import OpenMofiError
from openmofi.evaluation.metrics.bootstrap import LEVEL, RESAMPLES, Interval, bootstrap_interval
from openmofi.linking.corpora.examples import NIL, Example

BUCKETS = (0, 1, 2, 4, 8, 16)
"""Least number of candidates of each bucket."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """Mentions with a gold entity, one a row.

    Attributes:
        rows: (n,) int64, their places among the examples.
        splits: (n,) str, the split of each.
        candidates: (n,) int64, how many are listed.
        right: (n,) whether the answer is the gold.
        prior: (n,) whether the commonest candidate is.
        reachable: (n,) whether the gold is listed.
        shadowed: (n,) whether another candidate is commoner than the gold.
    """

    rows: NDArray[np.int64]
    splits: NDArray[np.str_]
    candidates: NDArray[np.int64]
    right: Bools
    prior: Bools
    reachable: Bools
    shadowed: Bools

    def taken(self, where: Bools) -> Judged:
        """The mentions at which `where`, (n,), is true."""
        return Judged(self.rows[where], self.splits[where], self.candidates[where], self.right[where],
                      self.prior[where], self.reachable[where], self.shadowed[where])


def prior_answers(examples: Sequence[Example]) -> list[str]:
    """What the prior answers: each example's commonest listed candidate, the first of equals; `NIL` without any."""
    return [max(listed, key=lambda one: one.prior).id if (listed := example.listed) else NIL for example in examples]


def judge(examples: Sequence[Example], answers: Sequence[str]) -> Judged:
    """Compare answers, identifiers or `NIL`, with the gold of those examples that have a gold entity.

    Raises:
        OpenMofiError: there is no such example, or not one answer for each example.
    """
    if len(answers) != len(examples):
        raise OpenMofiError(f"There are {len(answers):,} answers to {len(examples):,} examples.",
                            "Give one for each, in their order.")
    rows = [row for row, example in enumerate(examples) if example.gold != NIL]
    if not rows:
        raise OpenMofiError("No example has an entity as its gold: there is nothing to judge.",
                            "Give examples whose gold is one of their candidates.")
    kept = [examples[row] for row in rows]
    priors = prior_answers(kept)
    return Judged(
        np.array(rows, np.int64), np.array([one.split for one in kept]),
        np.array([len(one.listed) for one in kept], np.int64),
        np.array([answers[row] == one.gold for row, one in zip(rows, kept, strict=True)]),
        np.array([answer == one.gold for answer, one in zip(priors, kept, strict=True)]),
        np.array([one.reachable for one in kept]), np.array([one.shadowed for one in kept]))


def disambiguation_scores(examples: Sequence[Example], answers: Sequence[str]) -> dict[str, Any]:
    """All figures, as plain values.

    Args:
        examples: mentions of one or several splits.
        answers: for each the identifier of a candidate, or `NIL`.

    Returns:
        `mentions` (InKB) and `nil` (left out); `accuracy`, `ceiling`, `prior` over all mentions, and with `macro_`
        before their names the mean over splits; `shadowed` over `shadowed_mentions`, `None` without any; 95 %
        bootstrap intervals over mentions as `NAME_interval`; `splits` and `by_candidates`: the same for each split and
        each number of candidates (`"2-3"`), without macro averages.

    Raises:
        OpenMofiError: see `judge`.
    """
    return scores_of_judged(judge(examples, answers)) | {"nil": sum(example.gold == NIL for example in examples)}


def scores_of_judged(judged: Judged) -> dict[str, Any]:
    """See `disambiguation_scores`, without `nil`."""
    names = list(dict.fromkeys(judged.splits.tolist()))
    splits = {name: judged.taken(judged.splits == name) for name in names}
    return {
        **_scores(judged),
        "macro_accuracy": _macro([one.right for one in splits.values()]),
        "macro_ceiling": _macro([one.reachable for one in splits.values()]),
        "macro_prior": _macro([one.prior for one in splits.values()]),
        "macro_accuracy_interval": macro_interval([one.right for one in splits.values()]),
        "splits": {name: _scores(one) for name, one in splits.items()},
        "by_candidates": {name: _scores(judged.taken(where)) for name, where in _buckets(judged) if where.any()},
    }


def macro_interval(splits: Sequence[Bools], *, resamples: int = RESAMPLES, level: float = LEVEL,
                   seed: int = 0) -> Interval:
    """The bootstrap interval of the mean over splits of each split's mean; mentions are drawn within their split.

    The sum of n draws with replacement from n zeros and ones is binomial, so that is what is drawn.
    """
    generator = np.random.default_rng(seed)
    means = np.mean([generator.binomial(len(values), values.mean(), resamples) / len(values) for values in splits], 0)
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def _scores(judged: Judged) -> dict[str, Any]:
    hidden = judged.right[judged.shadowed]
    return {
        "mentions": len(judged.rows), "accuracy": float(judged.right.mean()),
        "accuracy_interval": _interval(judged.right), "ceiling": float(judged.reachable.mean()),
        "prior": float(judged.prior.mean()), "shadowed_mentions": len(hidden),
        "shadowed": float(hidden.mean()) if len(hidden) else None,
        "shadowed_interval": _interval(hidden) if len(hidden) else None,
    }


def _macro(splits: Sequence[Bools]) -> float:
    return float(np.mean([values.mean() for values in splits]))


def _interval(right: Bools) -> Interval:
    return bootstrap_interval(right.astype(np.float64), np.arange(len(right)))


def _buckets(judged: Judged) -> list[tuple[str, Bools]]:
    last = BUCKETS[-1]
    found = [(str(low) if high == low + 1 else f"{low}-{high - 1}",
              (judged.candidates >= low) & (judged.candidates < high)) for low, high in pairwise(BUCKETS)]
    return [*found, (f"{last}+", judged.candidates >= last)]

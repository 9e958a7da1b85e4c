"""What a calibration says of itself: how much is shown, how well that is told apart, and whether decoys were fair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from openmofi.labeling.calibrate.expectation import Estimate, Problem
from openmofi.labeling.calibrate.mixture import Posterior

_BEST = 20
_LEAST_SENSES, _ERRORS, _SHIFT = 30.0, 3.0, 0.1
_FEW, _BLIND, _RARE = 0.01, 2.0, 0.1


def describe(problem: Problem, estimate: Estimate) -> dict[str, Any]:
    """Figures of a fit.

    Returns:
        `share` of the pairs that show something that they name, `separation` of what is shown from decoys in SD of
        these, `best_precision` expected of the 20 most probable candidates, `candidates`, `log_likelihood` beside that
        of decoys, and `exchangeability`; see there.
    """
    posterior = problem.posterior(estimate)
    best = np.sort(posterior.shown)[-_BEST:]
    return {
        "share": round(float(posterior.pair_shown.mean()), 4),
        "separation": round(float((estimate.present - problem.absent) @ problem.score), 3),
        "best_precision": round(float(best.mean()), 4),
        "candidates": len(posterior.shown),
        "log_likelihood": round(posterior.log_likelihood, 1),
        "exchangeability": exchangeability(problem, posterior, estimate),
    }


def exchangeability(problem: Problem, posterior: Posterior, estimate: Estimate) -> dict[str, Any]:
    """Whether what is named and not shown is like the decoys: the losing senses of shown mentions beside these.

    The mean score of candidates, each weighted by the probability that another sense of its mention is shown, is
    unbiased for the losing senses': weight and evidence meet in the posterior alone.

    Returns:
        `status`: `passed`; `failed`: they lie significantly and by more than 0.1 SD higher, and probabilities are the
        lower for it; `untested`: fewer than 30 losing senses. `losing_senses`, how many; `shift` of theirs in SD of
        the decoys, with its `standard_error`; `companions_shift`, as the mixture has it for other named entities.
    """
    weight, score = posterior.sibling, problem.score[problem.bin_of]
    total = max(float(weight.sum()), 1e-9)
    effective = total**2 / max(float((weight**2).sum()), 1e-9)
    mean = float(weight @ score) / total
    error = float(np.sqrt((weight**2 * (score - mean) ** 2).sum())) / total
    base = float(problem.absent @ problem.score)
    shift = mean - base
    failed = shift > _ERRORS * error and shift > _SHIFT
    companions = float((problem.absent * np.exp(estimate.companion.log_ratio)) @ problem.score) - base
    status = "untested" if effective < _LEAST_SENSES else "failed" if failed else "passed"
    return {
        "status": status,
        "losing_senses": round(effective),
        "shift": round(shift, 3),
        "standard_error": round(error, 3),
        "companions_shift": round(companions, 3),
    }


def advice(report: Mapping[str, Any], accepted: int, pairs: int, threshold: float) -> str:
    """Why a job accepts little, and what to do; empty where it accepts labels for 1 % of its pairs or more.

    Args:
        report: see `describe`; empty where nothing was fitted.
        accepted: labels.
        pairs: that could be judged.
        threshold: least probability of a label.
    """
    if not report or accepted >= _FEW * pairs:
        return ""
    share, separation, best = (float(report[name]) for name in ("share", "separation", "best_precision"))
    why = (
        f"Only {accepted:,} labels for {pairs:,} pairs: {share:.0%} of the pairs seem to show something that they "
        f"name, what is shown lies {separation:.1f} SD above what is not, and the most probable labels are expected "
        f"to be right with {best:.2f}, where {threshold:.2f} is asked for."
    )
    if separation < _BLIND:
        return f"{why} The encoder hardly tells them apart: try another encoder, or --adapt."
    if share < _RARE:
        return f"{why} The texts rarely name what their images show: try other texts, or another knowledge base."
    return f"{why} A lower --threshold accepts more; more pairs in one job make probabilities surer."

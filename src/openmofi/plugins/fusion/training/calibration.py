"""What is fitted after a linker's training: the temperature of its logits, and the weight of the prior beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from openmofi.plugins.fusion.linker import Floats

_LOG_TEMPERATURE, _PRIOR_WEIGHT = (-4.0, 4.0), (0.0, 3.0)


def fitted_calibration(
    logits: Sequence[Floats], priors: Sequence[Floats], targets: Sequence[int], *, nil: bool
) -> tuple[float, float]:
    """T and α of logits / T + α · log prior at which the right answers are likeliest; 1 and 0 without any example.

    With α = 0 this is temperature scaling (Guo et al., arXiv 1706.04599).

    Args:
        logits: of candidates and NIL, each.
        priors: logarithms, see `openmofi.plugins.fusion.linker.log_priors`.
        targets: the position of the right one.
        nil: whether NIL takes part; if not, its logits are left out.
    """
    kept = [
        (of_mention, of_names, target) if nil else (of_mention[:-1], of_names[:-1], target)
        for of_mention, of_names, target in zip(logits, priors, targets, strict=True)
        if nil or target < len(of_mention) - 1
    ]
    if not kept:
        return 1.0, 0.0
    width = max(len(of_mention) for of_mention, _, _ in kept)
    first, second = np.full((len(kept), width), -np.inf), np.zeros((len(kept), width))
    for row, (of_mention, of_names, _) in enumerate(kept):
        first[row, : len(of_mention)], second[row, : len(of_names)] = of_mention, of_names
    right = np.arange(len(kept)), np.array([target for _, _, target in kept])

    def loss(parameters: Floats) -> float:
        scores = first * np.exp(-parameters[0]) + parameters[1] * second
        return float(np.mean(logsumexp(scores, axis=1) - scores[right]))

    found = minimize(loss, np.zeros(2), bounds=[_LOG_TEMPERATURE, _PRIOR_WEIGHT]).x
    return round(float(np.exp(found[0])), 4), round(float(found[1]), 4)

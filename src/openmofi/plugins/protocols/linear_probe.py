"""A linear probe: multinomial logistic regression on frozen features, by L-BFGS, as CLIP evaluates them.

The loss is the sum of the cross-entropy over the training images, plus λ/2 ‖W‖² (not on the bias): scikit-learn's
`LogisticRegression(C=1/λ)`, with which the tests compare. λ is chosen on a validation split (Radford et al. 2021, A.3):
first 10⁻⁶, 10⁻⁴, …, 10⁶, then between the neighbours of the best, halving the step to 8 steps per decade. The
probe is then fitted on training and validation images together. The test split is used once, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from openmofi.arrays import Doubles, Floats, Ints
from openmofi.errors import OpenMofiError

COARSE = tuple(float(power) for power in range(-6, 7, 2))
"""Exponents of 10 of the first values of λ."""

FINEST = 0.125
MAX_ITERATIONS = 1000
TOLERANCE = 1e-4
"""Scikit-learn's. Where classes are separable and λ is small, the loss is flat, and the tolerance ends the search."""

_ROWS = 8192


class Split(NamedTuple):
    """(n, d) features and (n,) classes of a split's images."""

    features: Floats
    labels: Ints

    def take(self, rows: Ints) -> Split:
        """Return the split of some rows."""
        return Split(self.features[rows], self.labels[rows])


@dataclass(frozen=True)
class Probe:
    """A fitted linear classifier: `features @ weights + bias`."""

    weights: Floats
    bias: Floats
    converged: bool = True

    def logits(self, features: ArrayLike) -> Floats:
        """(n, d) → (n, classes)."""
        return np.asarray(features, np.float32) @ self.weights + self.bias

    def predict(self, features: ArrayLike) -> Ints:
        """(n,) classes; the first of equal logits."""
        return self.logits(features).argmax(axis=1).astype(np.int64)


@dataclass(frozen=True)
class Sweep:
    """The search for λ: the best, and λ → accuracy on the validation split, λ ascending."""

    best: float
    tried: dict[float, float]


def fit_probe(
    features: ArrayLike,
    labels: ArrayLike,
    classes: int,
    l2: float,
    *,
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Probe:
    """Fit a probe.

    Args:
        features: (n, d); read in float32.
        labels: (n,) from 0 to `classes` − 1.
        classes: their number.
        l2: λ, see the module.
        max_iterations, tolerance: of L-BFGS; the latter bounds the gradient of the mean loss.

    Raises:
        OpenMofiError: labels that do not fit, or features that are not finite.
    """
    from scipy.optimize import minimize

    values, true = _checked(features, labels, classes)
    size = (values.shape[1] + 1, classes)

    def objective(flat: Doubles) -> tuple[float, Doubles]:
        return _loss(flat.reshape(size), values, true, l2)

    fit: Any = minimize(
        objective,
        np.zeros(size[0] * size[1]),
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": max_iterations,
            "maxcor": 10,
            "gtol": tolerance,
            "ftol": 1e-14,
            "maxls": 50,
            "maxfun": 2 * max_iterations,
        },
    )
    solution = fit.x.reshape(size).astype(np.float32)
    return Probe(solution[:-1], solution[-1], bool(fit.success))


def tuned_probe(
    train: Split,
    validation: Split,
    classes: int,
    *,
    max_iterations: int = MAX_ITERATIONS,
) -> tuple[Sweep, Probe]:
    """Choose λ on the validation split, then fit a probe on both splits; see `choose_l2` and `fit_probe`."""
    sweep = choose_l2(train, validation, classes, max_iterations=max_iterations)
    features = np.concatenate([train.features, validation.features])
    labels = np.concatenate([train.labels, validation.labels])
    return sweep, fit_probe(features, labels, classes, sweep.best, max_iterations=max_iterations)


def choose_l2(
    train: tuple[ArrayLike, ArrayLike],
    validation: tuple[ArrayLike, ArrayLike],
    classes: int,
    *,
    max_iterations: int = MAX_ITERATIONS,
) -> Sweep:
    """The λ of the best accuracy on the validation split; of equal ones the largest, which is the simplest probe.

    Args:
        train, validation: features (n, d) and labels (n,) of each.
    """
    values, true = _checked(*validation, classes)
    tried: dict[float, float] = {}

    def attempt(exponents: list[float]) -> None:
        for exponent in sorted(set(exponents) - set(tried)):
            # Each fit starts from zeros, as in scikit-learn: where classes are separable the loss is flat, and the end
            # of the search would depend on its start.
            probe = fit_probe(*train, classes, 10.0**exponent, max_iterations=max_iterations)
            tried[exponent] = float((probe.predict(values) == true).mean())

    attempt(list(COARSE))
    step = COARSE[1] - COARSE[0]
    while step > FINEST:
        step /= 2
        best = _best(tried)
        attempt([best - step, best + step])
    return Sweep(10.0 ** _best(tried), {10.0**exponent: tried[exponent] for exponent in sorted(tried)})


def _best(tried: dict[float, float]) -> float:
    return max(tried, key=lambda exponent: (tried[exponent], exponent))


def _loss(weights: Doubles, features: Floats, labels: Ints, l2: float) -> tuple[float, Doubles]:
    """Mean cross-entropy with its share of the penalty, and its gradient; in blocks of rows."""
    single = weights.astype(np.float32)
    total, gradient = 0.0, np.zeros_like(weights)
    for begin in range(0, len(features), _ROWS):
        rows, true = features[begin : begin + _ROWS], labels[begin : begin + _ROWS]
        logits = rows @ single[:-1] + single[-1]
        logits -= logits.max(axis=1, keepdims=True)
        true_logits = logits[np.arange(len(rows)), true].astype(np.float64)
        shares = np.exp(logits, out=logits)
        sums = shares.sum(axis=1, keepdims=True, dtype=np.float64)
        total += float((np.log(sums[:, 0]) - true_logits).sum())
        shares /= sums.astype(np.float32)
        shares[np.arange(len(rows)), true] -= 1
        gradient[:-1] += rows.T @ shares
        gradient[-1] += shares.sum(axis=0, dtype=np.float64)
    total += 0.5 * l2 * float((weights[:-1] ** 2).sum())
    gradient[:-1] += l2 * weights[:-1]
    return total / len(features), (gradient / len(features)).ravel()


def _checked(features: ArrayLike, labels: ArrayLike, classes: int) -> tuple[Floats, Ints]:
    values, true = np.asarray(features, np.float32), np.asarray(labels, np.int64)
    if values.ndim != 2 or true.shape != (len(values),) or not len(values):
        raise OpenMofiError(
            f"Features of shape {values.shape} do not fit labels of shape {true.shape}.",
            "Give a row of features and a class for each image.",
        )
    if true.min() < 0 or true.max() >= classes:
        raise OpenMofiError(f"Labels run from {true.min()} to {true.max()}, and there are {classes} classes.")
    if not np.isfinite(values).all():
        raise OpenMofiError("Features hold values that are not finite.", "The encoder is damaged, or overflows.")
    return values, true

"""A threshold from which on labels are right as often as asked, with a confidence that people's verdicts buy.

Learn-then-test (Angelopoulos et al., arXiv 2110.01052) with fixed-sequence testing. Thresholds are written down before
anything is looked at; labels are drawn uniformly among those that the lowest of them accepts. From the first threshold
on each is tested, until one fails; the last one that passed is chosen. Verdicts on the labels that a threshold accepts
are a plain draw from these, so that the hypergeometric tail is an exact test, whatever the probabilities are worth.
"Unsure" counts as wrong: leaving out hard labels buys nothing.

Further looks at further labels are allowed. Each has a share of the error, and its own P values, given what was seen
before; those of one threshold are combined by Fisher's method (Bauer and Köhne 1994, https://doi.org/10.2307/2533441).
What passed once stays so. A look may add thresholds at the end of the sequence, or begin a new one where none passed:
only it and later ones count for these, so that the choice may lean on what was seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import binom, chi2, hypergeom

from openmofi.arrays import Doubles, Ints
from openmofi.errors import OpenMofiError, UsageError
from openmofi.review.commands import first_draw
from openmofi.review.verdicts import Plan, Step, Tally, Verdicts

GRID: Doubles = np.round(expit(np.arange(-17, 73) / 8), 6)
"""Thresholds that may be tested, ascending: an eighth of log odds apart, from .107 on."""

LATER = 0.25
"""Share of the error that each look leaves to all later ones."""

DOUBT = 0.25
"""Log odds that claims are raised by where the draw begins: a guarantee needs room below as much as above."""

MOST = 1000
_POWER, _GROWTH, _EDGE, _BLOCK = 0.8, 1.15, 1e-6, 32


@dataclass(frozen=True)
class StepResult:
    """A threshold and what all looks say of it.

    Attributes:
        threshold: accepts candidates from this probability on.
        labels: how many it accepts.
        judged, right: verdicts on these, and how many of them are yes.
        passed: whether it may be chosen.
    """

    threshold: float
    labels: int
    judged: int
    right: int
    passed: bool


@dataclass(frozen=True)
class Guarantee:
    """What verdicts guarantee.

    Attributes:
        target, confidence: P(precision of the labels ≥ target) ≥ confidence, over draws of what was looked at.
        threshold: the lowest that passed; 1.0 where none did, and nothing is accepted.
        steps: in the order in which they are tested.
        more: how many further verdicts decide the next step if as many are right as so far; `None` where that takes
            more than a thousand, or all steps passed.
        all_right: the same, if all of them are right.
    """

    target: float
    confidence: float
    threshold: float
    steps: tuple[StepResult, ...]
    more: int | None
    all_right: int | None

    @property
    def passed(self) -> StepResult | None:
        """The step that was chosen."""
        return next((step for step in reversed(self.steps) if step.passed), None)

    @property
    def next(self) -> StepResult | None:
        """The first step that did not pass."""
        return next((step for step in self.steps if not step.passed), None)

    @property
    def further(self) -> bool:
        """Whether a further look may decide more."""
        if self.next is None:
            return bool(self.steps[-1].threshold > GRID[0])
        return self.passed is None or bool(self.more or self.all_right)

    def sentences(self) -> list[str]:
        """Say it to people: what holds, and what would be next."""
        goal = f"{self.target:g} right with confidence {self.confidence:g}"
        said, step, then = [], self.passed, self.next
        if step:
            said.append(
                f"At least {goal} from probability {step.threshold:.3f} on: {step.right:,} of {step.judged:,} "
                "verdicts there are yes, and unsure ones count as no."
            )
        elif then:
            said.append(
                f"Nothing is accepted: {then.right:,} of {then.judged:,} verdicts from probability "
                f"{then.threshold:.3f} on are yes (unsure ones count as no), which does not show {goal}."
            )
        if then is None:
            return [
                *said,
                "Every step passed" + ("; a further draw looks at lower thresholds." if self.further else "."),
            ]
        where = f"between {then.threshold:.3f} and {step.threshold:.3f}" if step else f"from {then.threshold:.3f} on"
        surer = "" if step else "; a further draw looks at surer labels"
        if self.more:
            said.append(f"{self.more:,} more verdicts decide {where}, if as many are yes as so far.")
        elif self.all_right:
            said.append(f"{self.all_right:,} more verdicts, all yes, would decide {where}{surer}.")
        else:
            said.append(f"A thousand more verdicts would not decide {where}{surer}.")
        return said


def grades(probability: Doubles, claim: Doubles | None = None) -> tuple[Ints, Doubles]:
    """Return how many candidates lie between each threshold of `GRID` and the next, and the sum of what they claim.

    Args:
        probability: (n,) of candidates.
        claim: (n,) what that is worth by earlier verdicts; as it is where not given. It is raised by `DOUBT`.
    """
    position = np.searchsorted(GRID, probability, "right") - 1
    raised = expit(logit(np.clip(probability if claim is None else claim, _EDGE, 1 - _EDGE)) + DOUBT)
    inside, size = position >= 0, len(GRID)
    labels = np.bincount(position[inside], minlength=size).astype(np.int64)
    return labels, np.bincount(position[inside], raised[inside], minlength=size).astype(np.float64)


def accepted_from(labels: ArrayLike) -> Ints:
    """Return how many candidates each threshold of `GRID` accepts, of `grades`' numbers."""
    return np.asarray(np.cumsum(np.asarray(labels, np.int64)[::-1])[::-1])


def plan_steps(
    labels: ArrayLike, claims: ArrayLike, target: float, confidence: float, count: int, looks: int = 0
) -> tuple[Step, ...]:
    """Choose the thresholds to test, in their order; the last one says what to draw from.

    Args:
        labels, claims: (thresholds,) see `grades`.
        target, confidence: what is asked for.
        count: verdicts.
        looks: how many were before.

    Raises:
        OpenMofiError: there are no labels.
    """
    sizes, total = accepted_from(labels), np.cumsum(np.asarray(claims, np.float64)[::-1])[::-1]
    if not sizes.any():
        raise OpenMofiError("There is no candidate to look at.", "Label pairs whose texts name entities.")
    level = level_of(looks, confidence)
    enough = np.flatnonzero((total >= needed_precision(count, target, level) * sizes) & (sizes > 0))
    # Where claims never come near, the surest labels that a draw can be made of.
    lowest = int(enough[0]) if len(enough) else int(np.flatnonzero(sizes >= min(count, sizes.max()))[-1])
    least = np.log(level) / np.log(target)
    share = np.clip(1.3 * least / count, 0.5, 1)
    at = lowest + int(np.argmin(np.abs(sizes[lowest:] / sizes[lowest] - share)))
    chosen = [at]
    for position in range(at - 1, lowest - 1, -1):
        if sizes[position] >= _GROWTH * sizes[chosen[-1]]:
            chosen.append(position)
    if chosen[-1] != lowest:
        chosen.append(lowest)
    return tuple(Step(float(GRID[each]), int(sizes[each]), (Tally(),) * looks) for each in chosen)


def needed_precision(count: int, target: float, level: float) -> float:
    """Return the precision at which `count` verdicts pass a test of `target` four times in five; 1 where none does."""
    critical = binom.ppf(1 - level, count, target) + 1
    tried = np.linspace(target, 1, 501)
    enough = np.flatnonzero(binom.sf(critical - 1, count, tried) >= _POWER)
    return float(tried[enough[0]]) if len(enough) else 1.0


def first_count(target: float, confidence: float, looks: int = 0) -> int:
    """Return how many verdicts pass four times in five where precision is half-way between the target and 1."""
    level = level_of(looks, confidence)
    return next(
        count for count in range(10, 10 * MOST, 10) if needed_precision(count, target, level) <= (1 + target) / 2
    )


def level_of(look: int, confidence: float) -> float:
    """Return the error that a look may make, from 0 on; over all looks they sum to 1 − confidence."""
    return float((1 - confidence) * (1 - LATER) * LATER**look)


def next_plan(plan: Plan, said: Guarantee, labels: ArrayLike, claims: ArrayLike, count: int | None) -> tuple[Plan, int]:
    """Plan a further look.

    Args:
        plan: with the steps of `tallies`.
        said: what they guarantee.
        labels, claims: (thresholds,) see `grades`, by the verdicts so far.
        count: verdicts; as many as the next step needs where it is not given.

    Returns:
        the plan, and the number of verdicts.

    Raises:
        OpenMofiError: nothing is left to decide.
    """
    looks, step = plan.looks, said.next
    if step and (said.more or said.passed):
        count = count or said.more or said.all_right
        if count is None:
            raise OpenMofiError(
                f"{MOST:,} more verdicts would not decide the threshold {step.threshold:.3f}: {step.right:,} of "
                f"{step.judged:,} are yes, where {plan.target:g} is asked for.",
                "Use the threshold so far, or ask for a lower --target-precision in a new draw.",
            )
        return replace(plan, least=step.threshold), count
    count = count or first_count(plan.target, plan.confidence, looks)
    steps = plan_steps(labels, claims, plan.target, plan.confidence, count, looks)
    if step is None:
        last, sizes = plan.steps[-1], accepted_from(labels)
        steps = tuple(each for each in steps if each.threshold < last.threshold and each.labels > last.labels)
        if not steps and sizes[0] > last.labels:
            # Claims expect no more: the next threshold that accepts more says whether they are wrong.
            position = int(np.flatnonzero(sizes > last.labels)[-1])
            steps = (Step(float(GRID[position]), int(sizes[position]), (Tally(),) * looks),)
        if not steps:
            raise OpenMofiError("No label lies below the last threshold.", "Use the threshold so far.")
        return replace(plan, steps=(*plan.steps, *steps), least=steps[-1].threshold), count
    return replace(plan, steps=steps, least=steps[-1].threshold), count


def tallies(verdicts: Verdicts, target: float = 0.9, confidence: float = 0.9) -> tuple[Step, ...]:
    """Return the steps of the verdicts' plan with this look counted.

    Args:
        verdicts: of a draw for a guarantee.
        target, confidence: what is asked for, to say how to draw for it.

    Raises:
        UsageError: they were drawn for something else.
        OpenMofiError: some labels of the draw have no verdict.
    """
    plan = verdicts.plan
    if plan is None:
        raise UsageError(
            f"The verdicts of {verdicts.path} were not drawn for a guarantee: other draws favour some labels.",
            f"Draw anew: {first_draw(verdicts, target, confidence)}",
        )
    if verdicts.unjudged:
        raise OpenMofiError(
            f"{verdicts.path} has {len(verdicts.verdicts):,} verdicts of the {verdicts.sample:,} labels that were "
            "drawn; who stops where it suits chooses the result.",
            "Judge all of the page (u where you cannot say), save, and give the file again.",
        )
    probability = np.array([each.probability for each in verdicts.verdicts], np.float64)
    right = np.array([each.verdict == "y" for each in verdicts.verdicts], bool)

    def counted(step: Step) -> Step:
        on = probability >= step.threshold
        # A step above the region of this look has all its labels in it; one below has none.
        tally = Tally(int(on.sum()), int(right[on].sum())) if step.threshold >= plan.least else Tally()
        return Step(step.threshold, step.labels, (*step.earlier, tally))

    return tuple(map(counted, plan.steps))


def guaranteed(verdicts: Verdicts, target: float, confidence: float) -> Guarantee:
    """Choose the threshold that the verdicts guarantee.

    Args:
        verdicts: of a draw for it (`Verdicts.plan`).
        target: precision that is asked for, 0 < target < 1.
        confidence: see `Guarantee`.

    Raises:
        UsageError, OpenMofiError: see `tallies`.
    """
    steps, tested = tallies(verdicts, target, confidence), list[StepResult]()
    more: int | None = None
    all_right: int | None = None
    failed = False
    for step in steps:
        values, (judged, right) = _values(step, target), _counts(step)
        passed = not failed and _passes(step, values, confidence)
        if not failed and not passed:
            failed, level = True, level_of(len(step.earlier), confidence)
            more = _more(step, values, target, level, right / judged) if judged else None
            all_right = _more(step, values, target, level, 1.0)
        tested.append(StepResult(step.threshold, step.labels, judged, right, passed))
    chosen = [step.threshold for step in tested if step.passed]
    return Guarantee(target, confidence, chosen[-1] if chosen else 1.0, tuple(tested), more, all_right)


def _passes(step: Step, values: Sequence[float], confidence: float) -> bool:
    """Whether a step passed in any look; what passed once stays so."""
    return any(
        float(fisher(values[: look + 1])) <= level_of(look, confidence)
        for look, tally in enumerate(step.earlier)
        if tally.judged
    )


def _counts(step: Step) -> tuple[int, int]:
    """How many verdicts all looks have on the labels of a step, and how many of them are yes."""
    return sum(tally.judged for tally in step.earlier), sum(tally.right for tally in step.earlier)


def p_value(labels: ArrayLike, wanted: ArrayLike, judged: ArrayLike, right: ArrayLike) -> Doubles:
    """P(at least `right` of `judged`) where fewer than `wanted` of `labels` are right; drawn without replacement."""
    sizes, drawn = np.asarray(labels, np.int64), np.asarray(judged, np.int64)
    most = np.asarray(wanted, np.int64) - 1
    tail = hypergeom.sf(np.asarray(right) - 1, sizes, np.clip(most, 0, sizes), drawn)
    # Where more are right already than may be, nothing is left to doubt.
    return np.asarray(np.where(most < 0, 0.0, tail), np.float64)


def fisher(values: ArrayLike) -> Doubles:
    """Fisher's combined P values of (looks, …); looks without verdicts, NaN, are left out."""
    single = np.maximum(np.asarray(values, np.float64), 1e-300)
    seen = np.count_nonzero(~np.isnan(single), axis=0)
    return np.asarray(np.where(seen > 0, chi2.sf(-2 * np.nansum(np.log(single), axis=0), 2 * np.maximum(seen, 1)), 1.0))


def _wanted(step: Step, target: float) -> int:
    return int(np.ceil(target * step.labels - 1e-9))


def _values(step: Step, target: float) -> list[float]:
    """P values of the looks at a step, each given the earlier ones; NaN where a look saw none of its labels."""
    labels, wanted, values = step.labels, _wanted(step, target), list[float]()
    for tally in step.earlier:
        value = float(p_value(labels, wanted, tally.judged, tally.right))
        values.append(value if tally.judged else np.nan)
        labels, wanted = labels - tally.judged, wanted - tally.right
    return values


def _more(step: Step, values: list[float], target: float, level: float, share: float) -> int | None:
    """Return how many more verdicts decide a step at a level, if this share of them is right."""
    judged, right = _counts(step)
    left = step.labels - judged
    if share <= target:
        return None
    for start in range(1, min(MOST, left) + 1, _BLOCK):
        counts: Ints = np.arange(start, min(start + _BLOCK, MOST + 1, left + 1))
        good = np.floor(share * counts + 1e-9).astype(np.int64)
        further = p_value(left, _wanted(step, target) - right, counts, good)
        earlier = np.repeat(np.array(values)[:, None], len(counts), axis=1)
        enough = np.flatnonzero(fisher(np.vstack([earlier, further])) <= level)
        if len(enough):
            return int(counts[enough[0]])
    return None

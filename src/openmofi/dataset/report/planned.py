"""Labels drawn for a guarantee (`openmofi.review.guarantee`): uniformly, among those that a low threshold accepts."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa

from openmofi.arrays import Doubles, Ints
from openmofi.config import settings_from
from openmofi.dataset.report.sample import Drawn, Kinds, LabelCandidates, LabelSample, cells, joined
from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError, UsageError
from openmofi.labeling.correction import Recalibration
from openmofi.labeling.label_settings import SelectionSettings
from openmofi.review.commands import audit_command
from openmofi.review.guarantee import (
    GRID,
    first_count,
    grades,
    guaranteed,
    next_plan,
    plan_steps,
    tallies,
)
from openmofi.review.precision import stratum_name
from openmofi.review.verdicts import Plan, Stratum, Verdicts
from openmofi.storage import Shard

HINT = "Give the file that the page of these labels saved: openmofi label audit LABELS -o PAGE.html."


def require_of(folder: Folder, verdicts: Verdicts) -> None:
    """Refuse verdicts of other labels.

    Raises:
        OpenMofiError: they are.
    """
    if verdicts.labels != folder.manifest.fingerprint:
        own = f"They are of the folder {verdicts.folder}: {audit_command(verdicts.folder, verdicts=verdicts.path)}"
        raise OpenMofiError(
            f"The verdicts of {verdicts.path} are of other labels ({verdicts.labels}) than "
            f"{folder.path} ({folder.manifest.fingerprint}).",
            own if verdicts.folder and verdicts.folder != folder.path else HINT,
        )


def selection_of(folder: Folder) -> SelectionSettings:
    """Return how the labels of a folder were selected."""
    return settings_from(SelectionSettings(), values=folder.manifest.settings.get("selection"))


def graded(folder: Folder, claim: Recalibration | None = None) -> tuple[Ints, Doubles]:
    """Return `grades` of all candidates of a folder, with their claims recalibrated; reads all labels."""
    selection, labels, claims = selection_of(folder), np.zeros(len(GRID), np.int64), np.zeros(len(GRID))
    for shard in folder.shards:
        candidates = LabelCandidates.eligible(folder.read(shard, ["key", "mentions", "entities"]), selection)
        probability = candidates.probability.astype(np.float64)
        more, claimed = grades(probability, claim(probability) if claim else None)
        labels, claims = labels + more, claims + claimed
    return labels, claims


def planned(
    folder: Folder, target: float | None, confidence: float | None, verdicts: Verdicts | None, count: int | None
) -> tuple[Plan | None, int]:
    """Return the plan of a draw for a guarantee, `None` where none is asked for, and the number of labels to draw.

    Args:
        folder: of labels.
        target, confidence: what the guarantee is to say.
        verdicts: of an earlier look; they say what it is to be instead.
        count: as many, if it is given.

    Raises:
        UsageError: one of two is missing, out of its range, or too much; verdicts were not drawn for a guarantee.
        OpenMofiError: nothing is left to look at, or to decide.
    """
    if verdicts is not None:
        if target is not None or confidence is not None:
            raise UsageError(
                "The first draw decided what the guarantee is to say.", "Leave out --target-precision and --confidence."
            )
        return further_plan(folder, verdicts, count)
    if target is None and confidence is None:
        return None, 200 if count is None else count
    if target is None or confidence is None:
        raise UsageError(
            "A guarantee takes a precision and a confidence.", "Give both: --target-precision 0.9 --confidence 0.9."
        )
    if not (0 < target < 1 and 0 < confidence < 1):
        raise UsageError(
            f"A precision of {target:g} with a confidence of {confidence:g} cannot be shown.",
            "Both lie between 0 and 1.",
        )
    return first_plan(folder, target, confidence, count)


def first_plan(folder: Folder, target: float, confidence: float, count: int | None) -> tuple[Plan, int]:
    """Plan the first look at labels.

    Args:
        folder: of labels.
        target, confidence: what the guarantee is to say.
        count: verdicts; as many as the first step needs where it is not given.

    Returns:
        the plan, and the number of verdicts.

    Raises:
        OpenMofiError: there is no candidate to look at.
    """
    count = count or first_count(target, confidence)
    selection = selection_of(folder)
    steps = plan_steps(*graded(folder), target, confidence, count)
    return Plan(target, confidence, steps, steps[-1].threshold, selection.top_k, selection.sibling_margin), count


def further_plan(folder: Folder, verdicts: Verdicts, count: int | None) -> tuple[Plan, int]:
    """Plan a further look, at what decides the next step; see `first_plan`.

    Raises:
        UsageError, OpenMofiError: see `openmofi.review.guarantee.tallies`; or no draw decides more.
    """
    require_of(folder, verdicts)
    earlier = tallies(verdicts)
    assert verdicts.plan is not None
    plan = replace(
        verdicts.plan, steps=earlier, seen=(*verdicts.plan.seen, *(each.label for each in verdicts.verdicts))
    )
    said = guaranteed(verdicts, plan.target, plan.confidence)
    claim = Recalibration.of(verdicts.probability, verdicts.right)
    return next_plan(plan, said, *graded(folder, claim), count)


def draw_planned(folder: Folder, kinds: Kinds, plan: Plan, count: int, seed: int) -> LabelSample:
    """Draw labels uniformly among those of a plan that nobody has looked at; see `openmofi.dataset.report.sample.draw`.

    Raises:
        UsageError: `count` is not positive.
    """
    if count < 1:
        raise UsageError(f"A sample of {count} is none.", "Give --sample 100, say.")
    # Ranges alone are strata: they say what the verdicts on them stand for, and have no part in the draw.
    look = plan.looks
    whole = cells(
        folder, kinds, draws=count, seed=(seed, look) if look else (seed,), choose=candidates_of(folder, plan)
    )
    strata = joined(whole, lambda cell: (cell[0], cell[1], ""), count)
    numbered = sorted(
        (
            (number, candidate, position)
            for position, content in enumerate(strata.values())
            for number, candidate in content.draws
        ),
        key=lambda each: each[0],
    )[:count]
    drawn = [Drawn(candidate, position) for _, candidate, position in numbered]
    accepted = [cell[0] for cell in strata]
    return LabelSample(
        tuple(Stratum(stratum_name(*cell), cell[0], content.labels) for cell, content in strata.items()),
        tuple(drawn),
        sum(accepted[each.stratum] for each in drawn),
        count,
        plan,
    )


def candidates_of(folder: Folder, plan: Plan, *, unseen: bool = True) -> Callable[[Shard, pa.Table], LabelCandidates]:
    """Return what gives the candidates of a shard's table that a plan draws from.

    Args:
        folder: of labels.
        plan: see `Plan`.
        unseen: leave out what earlier looks judged.
    """
    selection, seen = selection_of(folder), dict[str, set[tuple[str, str]]]()
    for name, key, entity in plan.seen if unseen else ():
        seen.setdefault(name, set()).add((key, entity))

    def choose(shard: Shard, table: pa.Table) -> LabelCandidates:
        candidates = LabelCandidates.eligible(table, selection)
        candidates = candidates.where(candidates.probability.astype(np.float64) >= plan.least)
        if not (judged := seen.get(shard.name)):
            return candidates
        keys = table["key"].take(pa.array(candidates.row)).to_pylist()
        labels = zip(keys, candidates.entity.to_pylist(), strict=True)
        return candidates.where(np.array([label not in judged for label in labels], bool))

    return choose

"""What a label job says of its own labels: that the encoder is blind, or why hardly anything is accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openmofi.labeling.calibrate.calibration import blindness
from openmofi.labeling.label_settings import SelectionSettings
from openmofi.review.commands import CONFIDENCE, TARGET, audit_command, page_name

_FEW, _RARE = 0.01, 0.1


def refuses(report: Mapping[str, Any], selection: SelectionSettings, judged: bool) -> bool:
    """Return whether a job accepts nothing, since its encoder is blind and nobody looked.

    Args:
        report: see `openmofi.labeling.calibrate.calibration.describe`.
        selection: of the job.
        judged: whether verdicts choose the threshold.
    """
    return not selection.trust_anyway and not judged and bool(blindness(report))


def advice(
    report: Mapping[str, Any], accepted: int, pairs: int, selection: SelectionSettings, out: str, judged: bool = False
) -> str:
    """Say what is wrong with the labels of a job and what to do; empty where nothing is.

    Args:
        report: see `openmofi.labeling.calibrate.calibration.describe`; empty where nothing was fitted.
        accepted: labels.
        pairs: that could be judged.
        selection: of the job.
        out: its folder.
        judged: whether verdicts choose the threshold.
    """
    if not report:
        return ""
    target = selection.target_precision
    if (blind := blindness(report)) and not judged:
        page = page_name(out)
        if refuses(report, selection, judged):
            command = audit_command(out, out=page, target=target or TARGET, confidence=CONFIDENCE)
            return (
                f"{blind} Nothing is accepted before people have looked: {command} (or accept by the estimate all the "
                "same: --trust-anyway)."
            )
        return f"{blind} Do not use these labels before an audit of 100: {audit_command(out, out=page, sample=100)}"
    if accepted >= _FEW * pairs:
        return ""
    if judged:
        return (
            f"By the verdicts only {accepted:,} labels for {pairs:,} pairs reach a precision of {target:.2f}. Judge "
            "more labels, or take another encoder or other texts."
        )
    share, separation, best = (float(report[name]) for name in ("share", "separation", "best_precision"))
    demand = f"a probability of {selection.threshold:.2f}" if target is None else f"a precision of {target:.2f}"
    why = (
        f"Only {accepted:,} labels for {pairs:,} pairs: {share:.0%} of the pairs seem to show something that they "
        f"name, what is shown lies {separation:.1f} SD above what is not, and the most probable labels are expected "
        f"to be right with {best:.2f}, where {demand} is asked for."
    )
    if share < _RARE:
        return f"{why} The texts rarely name what their images show: try other texts, or another knowledge base."
    lower = "--threshold" if target is None else "--target-precision"
    return f"{why} A lower {lower} accepts more; more pairs in one job make probabilities surer."

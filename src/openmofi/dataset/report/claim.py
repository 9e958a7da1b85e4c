"""The claim of a label job about its labels, as cards and reports of a dataset state it."""

from collections.abc import Mapping
from typing import Any

from openmofi.labeling.calibrate.calibration import blindness


def claim(counts: Mapping[str, Any]) -> str:
    """Return how many labels are right by the job that made them, and what that rests on.

    Args:
        counts: of the job's manifest.
    """
    said, expected = counts.get("verdicts") or {}, counts.get("expected_precision")
    if guarantee := said.get("guarantee"):
        return (
            f"At least {guarantee['target']:g} of all labels of the job are right, with confidence "
            f"{guarantee['confidence']:g}, by people's verdicts on {said['judged'] + said['unsure']:,} of them."
        )
    if said and said["corrected_precision"] is not None:
        low, high = said["interval"]
        return (
            f"By people's verdicts on {said['judged']:,} labels {said['corrected_precision']:.3f} of all labels of the "
            f"job are right (95 %: {low:.3f} to {high:.3f})."
        )
    if expected is None:
        return ""
    return f"The job expects {expected:.3f} of its labels to be right: an estimate, since nobody has looked at them."


def warning(counts: Mapping[str, Any]) -> str:
    """Return what is wrong with labels that nobody has looked at and whose encoder is blind; else empty.

    Args:
        counts: of the job's manifest.
    """
    blind = "" if counts.get("verdicts") else blindness(counts.get("calibration") or {})
    return f"{blind} Do not use these labels before people have looked at a hundred of them." if blind else ""

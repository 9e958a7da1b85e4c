"""Commands for people to copy: complete, and quoted for a shell."""

import shlex

from openmofi.review.verdicts import Verdicts
from openmofi.terminal import visible

TARGET, CONFIDENCE = 0.9, 0.9
"""The guarantee that is suggested where the user names none."""


def shell_command(*words: object) -> str:
    """Return a command of words, each quoted where a shell would read it otherwise."""
    return visible(shlex.join(map(str, words)))


def audit_command(
    labels: object,
    *,
    out: object = "",
    verdicts: object = "",
    target: float | None = None,
    confidence: float | None = None,
    sample: int | None = None,
) -> str:
    """Return a command that draws labels or reads what was said of them.

    Args:
        labels: their folder.
        out: the page to write.
        verdicts: the file of verdicts.
        target, confidence: of a guarantee.
        sample: labels to draw.
    """
    options: list[tuple[str, object]] = [
        ("--verdicts", verdicts or None),
        ("--target-precision", target),
        ("--confidence", confidence),
        ("--sample", sample),
        ("-o", out or None),
    ]
    given = [word for name, value in options if value is not None for word in (name, value)]
    return shell_command("openmofi", "label", "audit", labels, *given)


def page_name(labels: object, looks: int = 0) -> str:
    """Return the name of the page of a look at labels, after `looks` others."""
    return f"{labels}-audit{f'-{looks + 1}' if looks else ''}.html"


def verdicts_name(looks: int = 0) -> str:
    """Return the name under which a page saves its verdicts: a later look does not take an earlier one's."""
    return f"verdicts{f'-{looks + 1}' if looks else ''}.json"


def first_draw(verdicts: Verdicts, target: float, confidence: float) -> str:
    """Return the command that draws for a guarantee from the labels that verdicts are of."""
    labels = verdicts.folder or "LABELS"
    return audit_command(labels, target=target, confidence=confidence, out=page_name(labels))


def further_draw(verdicts: Verdicts) -> str:
    """Return the command that draws for the next step of a guarantee."""
    labels, looks = verdicts.folder or "LABELS", verdicts.plan.looks + 1 if verdicts.plan else 0
    return audit_command(labels, verdicts=verdicts.path, out=page_name(labels, looks))

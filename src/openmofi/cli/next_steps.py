"""What to do after a look at labels: commands that can be copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmofi.cli.command import print_json
from openmofi.review.commands import (
    CONFIDENCE,
    TARGET,
    audit_command,
    further_draw,
    page_name,
    shell_command,
    verdicts_name,
)

if TYPE_CHECKING:
    from openmofi.dataset.report.page import Corrected
    from openmofi.dataset.report.sample import LabelSample
    from openmofi.dataset.tables import Folder
    from openmofi.review.verdicts import Verdicts

_MOST_SHARDS = 20
_CHOSEN = ("threshold", "target_precision", "confidence", "trust_anyway")


def print_drawn(folder: Folder, out: Path, drawn: LabelSample, as_json: bool) -> None:
    """Print what a page holds, and what to do with it."""
    size, below = len(drawn.drawn), len(drawn.drawn) - drawn.accepted
    if as_json:
        strata = {stratum.name: stratum.labels for stratum in drawn.strata}
        print_json(
            {"page": str(out), "drawn": size, "accepted": drawn.accepted, "below_threshold": below, "strata": strata}
        )
        return
    print(
        f"{out}: {drawn.accepted:,} labels and {below:,} candidates below the threshold, "
        f"of {len(drawn.strata):,} strata" + ("; there are no more" if size < drawn.wanted else "")
    )
    saves = verdicts_name(drawn.plan.looks if drawn.plan else 0)
    if plan := drawn.plan:
        print(
            f"Drawn uniformly from probability {plan.least:.3f} on, to show {plan.target:g} right with confidence "
            f"{plan.confidence:g}. Judge all of them before you save (u where you cannot say): a part shows nothing."
        )
    print(f"Judge them in a browser, save, move {saves} here, then:")
    print(f"  {audit_command(folder.path, verdicts=saves)}")


def print_next(folder: Folder, verdicts: Verdicts, said: Corrected) -> None:
    """Print what to do after the figures that verdicts show."""
    plan, guarantee = verdicts.plan, said.guarantee
    if plan and guarantee is None:
        print(
            f"A guarantee takes a verdict on each of the {verdicts.sample:,} labels of the page: judge the other "
            f"{verdicts.unjudged:,} (u where you cannot say), save, and give the file again."
        )
    elif plan and guarantee:
        if guarantee.passed:
            print("Label with this threshold:")
            print(f"  {label_command(folder, verdicts.path, plan.target, plan.confidence)}")
        if guarantee.further:
            print("Draw for the next step:")
            print(f"  {further_draw(verdicts)}")
    else:
        target = folder.manifest.settings.get("selection", {}).get("target_precision") or TARGET
        print(f"Choose the threshold for a precision of {target:g} by these verdicts, which is an estimate:")
        print(f"  {label_command(folder, verdicts.path, target)}")
        print("Or draw for a guarantee:")
        print(f"  {audit_command(folder.path, target=target, confidence=CONFIDENCE, out=page_name(folder.path))}")


def label_command(folder: Folder, verdicts: object, target: float, confidence: float | None = None) -> str:
    """Return the command that labels the pairs of a folder again, with a threshold by verdicts.

    Args:
        folder: of labels.
        verdicts: their file, or an index.
        target, confidence: what the threshold is to reach.
    """
    from openmofi.labeling.label_settings import LabelSettings

    settings = folder.manifest.settings
    words = ["openmofi", "label", *_shards([shard.path for shard in folder.shards])]
    words += [
        "--kb",
        settings.get("kb", "KB"),
        "--encoder",
        settings.get("encoder", "ENCODER"),
        "-o",
        _free(f"{folder.path}-audited"),
    ]
    words += options(settings, LabelSettings().as_dict())
    if "/calibration" in folder.manifest.inputs:
        words += ["--calibration", "CALIBRATION.json"]
    if Path(folder.path, "features").is_dir():
        words += ["--cache", folder.path]
    words += ["--target-precision", f"{target:g}"]
    if confidence is not None:
        words += ["--confidence", f"{confidence:g}"]
    return shell_command(*words, "--verdicts", verdicts)


def options(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options whose values are not the usual ones; what a manifest names besides is no option."""
    for name, default in usual.items():
        value = settings.get(name, default)
        if isinstance(default, dict):
            yield from options(value if isinstance(value, dict) else {}, default)
        elif name not in _CHOSEN and value != default:
            option = name.replace("_", "-")
            if isinstance(value, bool):
                yield f"--{option}" if value else f"--no-{option}"
            else:
                for each in value if isinstance(value, list | tuple) else [value]:
                    yield from (f"--{option}", str(each))


def _shards(paths: Sequence[str]) -> list[str]:
    """Shards as arguments: a glob where it finds just these, a few by their names, or a word for them."""
    first = Path(paths[0]) if paths else Path("SHARDS")
    if len(paths) > 1 and sorted(map(str, first.parent.glob(f"*{first.suffix}"))) == sorted(paths):
        return [f"{first.parent}/*{first.suffix}"]
    return list(paths) if 0 < len(paths) <= _MOST_SHARDS else ["SHARDS"]


def _free(path: str) -> str:
    """The path, or with a number where there is something."""
    number, free = 1, path
    while Path(free).exists():
        number += 1
        free = f"{path}-{number}"
    return free

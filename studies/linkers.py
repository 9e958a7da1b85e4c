"""What a linker is worth in the label job: the sample world labelled with several, against the truth.

World, encoder, image features and all else are the same; only the text half differs. The scores of linkers are not
comparable, so the decision between text and image is calibrated per linker, on the training pages and without truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from openmofi.encoders import CALIBRATION_FILE, open_encoder
from openmofi.engine import LocalEngine, Progress
from openmofi.errors import UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling import LabelSettings, label
from openmofi.labeling.decide import decision_of
from openmofi.labeling.job import read_corpus
from openmofi.labeling.label_settings import TextSettings
from openmofi.linking import check_linker
from openmofi.plugins.audit.audit import Audit, audit
from openmofi.plugins.audit.curves import Figures
from openmofi.storage import Shard, expand_shards, write_json
from studies.command import Demo, Json, MaxEntities, Out, run_command, run_study
from studies.report import Table, number
from studies.world.demo import Stopwatch, label_world
from studies.world.encoder import PARTIAL_LABELS
from studies.world.world_settings import WorldSettings, world_settings

PAGES: Mapping[str, str] = {"training": "pages/train", "heldout": "pages/heldout_pages"}


def compare_linkers(
    demo: str | Path,
    out: str | Path,
    linkers: Sequence[str],
    progress: Progress,
    *,
    settings: WorldSettings | None = None,
) -> dict[str, Any]:
    """Label the demo's world with each linker; finished steps are not repeated.

    Args:
        demo: the demo's folder; world, knowledge base and encoders are made where they are missing.
        out: gets a folder for each linker, and `metrics.json`.
        linkers: see `openmofi.linking.open_linker`.
        progress: receives every step.
        settings: of the world.

    Returns:
        `linkers`: pages (`training`, `heldout`) → linker → `text` (each mention's best candidate is accepted) and
        `image` (what the job accepts) → `all` and `ambiguous` → `precision`, `recall` and their intervals; `text` and
        `image` have `average_precision` besides. And `seconds`.

    Raises:
        UsageError: a linker is unknown, or two are of one kind.
    """
    demo, out = Path(demo), Path(out)
    named = _named(linkers)
    label_world(demo, progress, settings=settings)
    watch = Stopwatch.open(out / "seconds.json")
    figures: dict[str, dict[str, Any]] = {pages: {} for pages in PAGES}
    for name, spec in named.items():
        watch.time(name, partial(_label, demo, out / name, spec, progress))
        for pages in PAGES:
            figures[pages][name] = linker_figures(audit(out / name / pages, demo / "world/truth.parquet"))
    metrics = {"linkers": figures, "specs": named, "seconds": dict(watch.seconds)}
    write_json(out / "metrics.json", metrics)
    return metrics


def _named(linkers: Sequence[str]) -> dict[str, str]:
    """A folder's name for each linker: `prior`, `coherence`, `fusion`."""
    named: dict[str, str] = {}
    for spec in linkers:
        check_linker(spec)
        name = spec.partition(":")[0]
        if name in named:
            raise UsageError(f"The linkers {named[name]} and {spec} are of one kind.", "Compare them one by one.")
        named[name] = spec
    return named


def _label(demo: Path, out: Path, linker: str, progress: Progress) -> None:
    encoder, kb = open_encoder(f"run:{demo / 'encoders' / PARTIAL_LABELS}"), KnowledgeBase.open(demo / "kb")
    settings, cache = LabelSettings(TextSettings(linker=linker)), demo / "cache"
    calibration = out / CALIBRATION_FILE
    shards: dict[str, list[Shard]] = {
        pages: expand_shards([str(demo / "world" / folder)]) for pages, folder in PAGES.items()
    }
    if not calibration.exists():
        corpus = read_corpus(shards["training"], kb, encoder, settings, cache, LocalEngine(), progress)
        decision_of(corpus, encoder, None).calibration.save(calibration)
    for pages, listed in shards.items():
        label(listed, kb, encoder, out / pages, settings, cache=cache, calibration=calibration, progress=progress)


def linker_figures(result: Audit) -> dict[str, Any]:
    """An audit's figures of the text half (`text`) and of text and image (`image`); see `compare_linkers`."""
    ambiguous = result.groups["ambiguous"].get("true")
    figures: dict[str, Any] = {}
    for stage, side, curve in (("text", "text_only", result.text_only_curve), ("image", "labels", result.curve)):
        figures[stage] = {
            "all": _plain(getattr(result.overall, side)),
            "ambiguous": _plain(getattr(ambiguous, side, None)),
            "average_precision": curve.average_precision if curve else None,
        }
    return figures


def _plain(figures: Figures | None) -> dict[str, Any]:
    names = ("precision", "precision_interval", "recall", "recall_interval")
    return {name: getattr(figures, name, None) for name in names}


def print_linkers(metrics: Mapping[str, Any]) -> None:
    """Print what labels each linker leads to, by its text alone and with the image."""
    for pages, linkers in metrics["linkers"].items():
        rows = [
            (
                name,
                *(
                    f"{number(stages[stage][group]['precision'])} at {number(stages[stage][group]['recall'])}"
                    for stage in ("text", "image")
                    for group in ("all", "ambiguous")
                ),
            )
            for name, stages in linkers.items()
        ]
        Table(("linker", "all", "ambiguous", "all,\nwith image", "ambiguous,\nwith image"), rows).print(
            f"{pages} pages: precision at recall"
        )


def main(
    linker: Annotated[list[str], typer.Option("--linker", metavar="SPEC", help="As for `label`; may be repeated.")],
    out: Out = Path("runs/linkers"),
    demo: Demo = Path("runs/demo"),
    max_entities: MaxEntities = 0,
    as_json: Json = False,
) -> None:
    """Label the sample world with several linkers: precision and recall by the text alone and with the image."""
    run_study(
        lambda progress: compare_linkers(demo, out, linker, progress, settings=world_settings(None, max_entities)),
        as_json,
        print_linkers,
    )


if __name__ == "__main__":
    run_command(main)

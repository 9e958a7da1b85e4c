"""`openmofi sample demo`: the sample world, labelled, audited and made a dataset, with its figures.

Every step is a stage that goes on where it was stopped; the seconds that a step took are kept with it.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from openmofi.cli.recipes import changes
from openmofi.dataset import ReportSection, build_dataset, write_report
from openmofi.encoders import BACKBONE, open_encoder
from openmofi.engine import LocalEngine, Progress
from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.labeling import LabelSettings, label
from openmofi.labeling.job import read_corpus
from openmofi.plugins.audit.audit import Audit, audit
from openmofi.storage import Shard, expand_shards, write_json
from studies.world.encoder import ALT_TEXT, PARTIAL_LABELS, train_sample_encoders
from studies.world.ends import search_metrics
from studies.world.figures import figures_section, head_figures, seconds_section
from studies.world.images.packages import fetch
from studies.world.world import build_world
from studies.world.world_settings import WorldSettings

AT_RECALL = 0.75
"""The recall at which the audit compares the labels with other selectors; `precision_at_recall_75` is named by it."""

Result = TypeVar("Result")


@dataclass
class Stopwatch:
    """Seconds of each step, kept in a file: a step that goes on after a stop adds to what it had."""

    path: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> Stopwatch:
        """Go on with the seconds of an earlier run."""
        return cls(path, json.loads(path.read_text()) if path.exists() else {})

    def totals(self) -> dict[str, float]:
        """Seconds of each step, and `total`."""
        return {**self.seconds, "total": round(sum(self.seconds.values()), 1)}

    def time(self, step: str, work: Callable[[], Result]) -> Result:
        """Do `work` and add what it took to `step`, also when it is interrupted."""
        started = time.monotonic()
        try:
            return work()
        finally:
            self.seconds[step] = round(self.seconds.get(step, 0.0) + time.monotonic() - started, 1)
            write_json(self.path, self.seconds)


def run_demo(
    out: str | Path, progress: Progress, *, settings: WorldSettings | None = None, restart: bool = False
) -> dict[str, Any]:
    """Label the sample world in `out`, measure the labels and report.

    Args:
        out: the demo's folder; gets `metrics.json` and `report.html`.
        progress: receives every step.
        settings: of the world.
        restart: every step begins anew, but for the reading, which is kept by what it read.

    Returns:
        What `metrics.json` holds: `labels` (see `label_metrics`, and `expected_precision`), `search` (see
        `search_metrics`), `pairs`, `rows_in`, `rows_out`, `seconds`.
    """
    root = Path(out)
    watch, counts = label_world(root, progress, settings=settings, restart=restart)
    audits = watch.time("audit", lambda: audit_demo(root))
    metrics = {
        "labels": label_metrics(audits) | {"expected_precision": counts["expected_precision"]},
        "search": watch.time("search", lambda: search_metrics(root)),
        "pairs": counts["rows_in"],
        "rows_in": counts["rows_in"],
        "rows_out": counts["rows_out"],
    }
    return finish_demo(root, watch, metrics, audits)


def page_command(root: Path) -> str:
    """The command that opens the page of `openmofi serve` over the labels of a finished demo, for a shell."""
    # `make world` has an environment of its own, whose programs are not on the path.
    beside = Path(sys.executable).parent / "openmofi"
    if not beside.exists() or shutil.which("openmofi") == str(beside):
        program = "openmofi"
    else:
        program = str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)
    index = str(root / "index")
    build = [
        program,
        "index",
        "build",
        str(root / "labels"),
        "--encoder",
        f"run:{root / 'encoders' / PARTIAL_LABELS}",
        "-o",
        index,
    ]
    return f"{shlex.join(build)} && {shlex.join([program, 'serve', index, '--open'])}"


def finish_demo(
    root: Path,
    watch: Stopwatch,
    metrics: Mapping[str, Any],
    audits: Mapping[str, Audit],
    sections: Sequence[ReportSection] = (),
    goals: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Write the demo's `report.html` and `metrics.json`.

    Args:
        root: the demo's folder.
        watch: the seconds of its steps.
        metrics: all figures but the seconds.
        audits: see `audit_demo`.
        sections: further sections of the report, shown before the figures.
        goals: see `figures_section`.

    Returns:
        What `metrics.json` holds.
    """
    # What is left of an earlier run's report would be counted for this one.
    before = {step: seconds for step, seconds in watch.seconds.items() if step != "report"}
    watch.time(
        "report",
        lambda: write_report(
            root / "dataset",
            root / "labels",
            root / "report.html",
            audit=audits["labels"].view({"contrastive on alt-text": audits["labels-alt-text"]}),
            kb=KnowledgeBase.open(root / "kb"),
            metrics=head_figures(metrics["labels"]),
            sections=[*sections, figures_section(metrics, goals), seconds_section(before)],
        ),
    )
    finished = {**metrics, "seconds": watch.totals()}
    write_json(root / "metrics.json", finished)
    return finished


def demo_settings(root: Path) -> list[str]:
    """The settings of a recipe that say where the demo's data are."""
    return changes(None, {"data.dataset": root / "dataset", "data.kb": root / "kb", "data.cache": root / "cache"})


def audit_demo(root: Path) -> dict[str, Audit]:
    """Audits of `labels`, `labels-heldout` and `labels-alt-text` below `root` against the world's truth."""
    return {
        name: audit(root / name, root / "world/truth.parquet", at_recall=AT_RECALL)
        for name in ("labels", "labels-heldout", "labels-alt-text")
    }


def label_world(
    root: Path, progress: Progress, *, settings: WorldSettings | None = None, restart: bool = False
) -> tuple[Stopwatch, dict[str, Any]]:
    """The demo up to `root/dataset`: world, knowledge base, the sample encoders, labels, dataset; see `run_demo`.

    Returns the seconds so far and the counts of the label job over the training pages.
    """
    if restart:
        (root / "seconds.json").unlink(missing_ok=True)
    watch = Stopwatch.open(root / "seconds.json")
    world, kb, encoders, cache = root / "world", root / "kb", root / "encoders", root / "cache"
    packages = watch.time("fetch", fetch)
    watch.time("world", lambda: build_world(packages, world, settings, progress=progress, restart=restart))
    watch.time("kb", lambda: build_table(world / "kb", kb, restart=restart))
    train, heldout = expand_shards([str(world / "pages/train")]), expand_shards([str(world / "pages/heldout_pages")])
    opened, backbone = KnowledgeBase.open(kb), open_encoder(BACKBONE)
    watch.time(
        "read", lambda: read_corpus(train + heldout, opened, backbone, LabelSettings(), cache, LocalEngine(), progress)
    )
    watch.time(
        "encoders",
        lambda: train_sample_encoders(
            train, kb, encoders, cache=cache, progress=progress, backbone=backbone, restart=restart
        ),
    )

    def labelled(name: str, shards: list[Shard], encoder: str) -> dict[str, Any]:
        judge = open_encoder(f"run:{encoders / encoder}", bases=[backbone])
        return watch.time(
            f"label-{name}",
            lambda: label(
                shards, opened, judge, root / name, LabelSettings(), cache=cache, progress=progress, restart=restart
            ),
        )

    counts = labelled("labels", train, PARTIAL_LABELS)
    labelled("labels-heldout", heldout, PARTIAL_LABELS)
    labelled("labels-alt-text", train, ALT_TEXT)
    watch.time(
        "dataset", lambda: build_dataset(root / "labels", root / "dataset", kb=opened, report=False, restart=restart)
    )
    return watch, counts


def label_metrics(audits: Mapping[str, Audit]) -> dict[str, Any]:
    """The demo's figures from the audits of `audit_demo`.

    `text_only_precision` and `alt_text_encoder_precision` are taken at the recall that the labels reach.
    """
    training, heldout = audits["labels"], audits["labels-heldout"]
    ambiguous, heldout_ambiguous = (pages.groups["ambiguous"]["true"].labels for pages in (training, heldout))
    own, selectors = training.overall.labels, training.compare({"alt_text": audits["labels-alt-text"]})
    return {
        "precision": own.precision,
        "precision_interval": own.precision_interval,
        "recall": own.recall,
        "recall_interval": own.recall_interval,
        "ambiguous_precision": ambiguous.precision,
        "ambiguous_recall": ambiguous.recall,
        "heldout_precision": heldout.overall.labels.precision,
        "heldout_recall": heldout.overall.labels.recall,
        "heldout_ambiguous_precision": heldout_ambiguous.precision,
        "heldout_ambiguous_recall": heldout_ambiguous.recall,
        "text_only_precision": selectors["text_only"]["at_own_recall"],
        "alt_text_encoder_precision": selectors["alt_text"]["at_own_recall"],
        "precision_at_recall_75": {name: row["at_recall"] for name, row in selectors.items()},
        "average_precision": {name: row["average_precision"] for name, row in selectors.items()},
        "calibration_error": training.calibration and training.calibration.error,
    }

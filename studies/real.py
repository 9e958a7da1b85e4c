"""Labels outside the sample world: Openclipart's drawings with their own texts, against a truth made by hand.

The drawings come from two Debian packages; knowledge base and encoder are the demo's. The pairs are labelled with
defaults and with an adapter fitted on them, and scored on the rows of `truth_openclipart.jsonl`. Nothing is fitted on
that truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from openmofi.cli.command import run_command
from openmofi.dataset.tables import Folder
from openmofi.encoders import open_encoder
from openmofi.engine import Progress
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling import LabelSettings, label
from openmofi.storage import expand_shards, write_json, write_text
from studies.command import Demo, Json, Out, run_study
from studies.demo import demo_encoder
from studies.label_errors import MISSED_KINDS, WRONG_KINDS, Kinship, count_kinds, missed_entities, wrong_labels
from studies.openclipart import fetch_openclipart, read_drawings, require_known, write_pairs
from studies.real_figures import ScoredRun, print_real, real_report
from studies.scoring import label_figures, read_truth, scored_rows
from studies.world.demo import Stopwatch

TRUTH = Path(__file__).with_name("truth_openclipart.jsonl")
RUNS: Mapping[str, LabelSettings] = {"default": LabelSettings(), "adapt": LabelSettings(adapt=True)}


def run_real(out: str | Path, demo: str | Path, progress: Progress) -> dict[str, Any]:
    """Fetch, label and score; finished steps are not repeated.

    Args:
        out: gets `pairs/`, `cache/`, a folder of labels for each of `RUNS`, `metrics.json`, `report.html`.
        demo: the demo's folder; it is made where it has no encoder.
        progress: receives every step.

    Returns:
        What `metrics.json` holds: for each of `RUNS` what `score_run` gives, and the counts of the label job over all
        pairs (`job`); `seconds`.

    Raises:
        OpenMofiError: this is not Debian, the packages are others, or a part of the work failed.
    """
    root, demo = Path(out), Path(demo)
    watch = Stopwatch.open(root / "seconds.json")
    source = watch.time("fetch", lambda: fetch_openclipart(progress))
    watch.time("pairs", lambda: _make_pairs(source, root / "pairs", progress))
    encoder = open_encoder(f"run:{watch.time('demo', lambda: demo_encoder(demo, progress))}")
    kb = KnowledgeBase.open(demo / "kb")
    shards, kinship = expand_shards([str(root / "pairs")]), Kinship.read(demo / "world/kb")
    runs, metrics = {}, {}
    for name, settings in RUNS.items():
        counts = watch.time(
            name, partial(label, shards, kb, encoder, root / name, settings, cache=root / "cache", progress=progress)
        )
        runs[name] = score_run(root / name, TRUTH, kb, kinship)
        metrics[name] = {**runs[name].figures, "job": counts}
    metrics["seconds"] = watch.totals()
    write_json(root / "metrics.json", metrics)
    write_text(root / "report.html", real_report(metrics, runs, kb))
    return metrics


def _make_pairs(source: Path, out: Path, progress: Progress) -> None:
    drawings = read_drawings(source)
    require_known(drawings)
    write_pairs(drawings, out, progress)


def score_run(labels: Path, truth: Path, kb: KnowledgeBase, kinship: Kinship) -> ScoredRun:
    """Labels against the truth; `figures` are `studies.scoring.label_figures` and `errors` (kind → how many)."""
    folder = Folder.open(labels, "labels")
    rows = scored_rows(folder, read_truth(truth))
    wrong, missed = wrong_labels(rows, kinship), missed_entities(rows, kb)
    errors = {"wrong": count_kinds(wrong, WRONG_KINDS), "missed": count_kinds(missed, MISSED_KINDS)}
    return ScoredRun(folder, label_figures(rows) | {"errors": errors}, wrong, missed)


def main(out: Out = Path("runs/real"), demo: Demo = Path("runs/demo"), as_json: Json = False) -> None:
    """Label Openclipart's drawings by their own texts, and score the labels against a truth made by hand (Debian)."""
    run_study(lambda progress: run_real(out, demo, progress), as_json, lambda metrics: print_real(out, metrics))


if __name__ == "__main__":
    run_command(main)

"""Labels outside the sample world: drawings, photographs and icons with their own texts, against truths made by hand.

The pairs come from Debian and npm; knowledge base and encoder are the demo's. Each world's pairs are labelled with
defaults, with an adapter fitted on them, and after an audit: a hundred truthful verdicts choose the threshold. Scored
are the rows of `truth_*.jsonl`. Nothing but these verdicts is fitted on that truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from openmofi.dataset.tables import Folder
from openmofi.encoders import Encoder, open_encoder
from openmofi.engine import Progress
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling import LabelSettings, SelectionSettings, label
from openmofi.review.verdicts import Verdicts
from openmofi.storage import Shard, expand_shards, write_json, write_text
from studies import icons, openclipart, photos
from studies.command import Demo, Json, Out, run_command, run_study
from studies.demo import demo_encoder
from studies.label_errors import Kinship
from studies.outside_pairs import OutsidePair, content_of, write_pairs
from studies.real_figures import print_real, real_report
from studies.real_scores import ScoredRun, score_run, together
from studies.scoring import Truth, read_truth
from studies.simulated_verdicts import truthful_verdicts
from studies.world.demo import Stopwatch

VERDICTS, SEED = 100, 0
"""Of the simulated audit."""
AUDITED = "audited"
RUNS: Mapping[str, LabelSettings] = {
    "default": LabelSettings(),
    "adapt": LabelSettings(adapt=True),
    # The verdicts' job; what else it is told, such as how sure its precision is to be, belongs here.
    AUDITED: LabelSettings(selection=SelectionSettings(target_precision=0.9)),
}


@dataclass(frozen=True)
class OutsideWorld:
    """Pairs of one kind.

    Attributes:
        pairs: fetches and reads them.
        content: `studies.outside_pairs.content_of` of those that were judged.
        truth: file of the rows that were judged.
    """

    pairs: Callable[[Progress], list[OutsidePair]]
    content: str
    truth: Path


_HERE = Path(__file__).parent
WORLDS: Mapping[str, OutsideWorld] = {
    "openclipart": OutsideWorld(openclipart.openclipart_pairs, openclipart.CONTENT, _HERE / "truth_openclipart.jsonl"),
    "photos": OutsideWorld(photos.photo_pairs, photos.CONTENT, _HERE / "truth_photos.jsonl"),
    "icons": OutsideWorld(icons.icon_pairs, icons.CONTENT, _HERE / "truth_icons.jsonl"),
}


def run_real(out: str | Path, demo: str | Path, progress: Progress, spec: str = "") -> dict[str, Any]:
    """Fetch, label and score; finished steps are not repeated.

    Args:
        out: gets a folder for each of `WORLDS` with `pairs/`, `verdicts.json` and the labels of each of `RUNS`; and
            `cache/`, `metrics.json`, `report.html`.
        demo: the demo's folder; it is made where it has no encoder.
        progress: receives every step.
        spec: of the encoder; the demo's where it is "".

    Returns:
        What `metrics.json` holds: for each of `WORLDS` and `RUNS` what `studies.real_scores.score_run` gives; `worlds`:
        of each what `_make_pairs` gives; `together`: each of `RUNS` over the rows of all worlds; `seconds`.

    Raises:
        OpenMofiError: this is not Debian, the packages are others, or a part of the work failed.
    """
    root, demo = Path(out), Path(demo)
    watch = Stopwatch.open(root / "seconds.json")
    made = {
        name: watch.time(f"{name}: pairs", partial(_make_pairs, world, root / name / "pairs", progress))
        for name, world in WORLDS.items()
    }
    of_demo = watch.time("demo", lambda: demo_encoder(demo, progress))
    encoder = open_encoder(spec or f"run:{of_demo}")
    study = RealStudy(root, KnowledgeBase.open(demo / "kb"), encoder, Kinship.read(demo / "world/kb"), watch, progress)
    runs = {
        name: study.runs(name, expand_shards([str(root / name / "pairs")]), read_truth(world.truth))
        for name, world in WORLDS.items()
    }
    metrics: dict[str, Any] = {
        name: {run: scored.figures for run, scored in of_world.items()} for name, of_world in runs.items()
    }
    metrics |= {"worlds": made, "together": together(runs), "seconds": watch.totals()}
    write_json(root / "metrics.json", metrics)
    write_text(root / "report.html", real_report(metrics, runs, study.kb))
    return metrics


def _make_pairs(world: OutsideWorld, out: Path, progress: Progress) -> dict[str, Any]:
    """Write the pairs.

    Returns:
        How many `pairs` there are, whether they are `as_judged`, how many rows were `judged`, and how many of these
        are there to be `scored`.
    """
    pairs, truth = world.pairs(progress), read_truth(world.truth)
    write_pairs(pairs, out, progress)
    scored = len({pair.key for pair in pairs} & {row.key for row in truth})
    if scored < len(truth):
        progress.say(f"{scored} of {len(truth)} judged rows are among the pairs of {out}; the others are not scored.")
    return {
        "pairs": len(pairs),
        "as_judged": content_of(pairs) == world.content,
        "judged": len(truth),
        "scored": scored,
    }


@dataclass(frozen=True)
class RealStudy:
    """What all worlds share.

    Attributes:
        root: folder of the study.
        kb, encoder: the demo's.
        kinship: of the knowledge base's source.
        watch: takes the time of every job.
        progress: receives every step.
    """

    root: Path
    kb: KnowledgeBase
    encoder: Encoder
    kinship: Kinship
    watch: Stopwatch
    progress: Progress

    def runs(self, world: str, shards: Sequence[Shard], truth: Sequence[Truth]) -> dict[str, ScoredRun]:
        """Label a world's pairs in the way of each of `RUNS`, and score the labels.

        Where the audit had nothing to draw or to say, `audited` are the labels of `default`.
        """
        labels = {run: self._label(world, run, shards) for run in RUNS if run != AUDITED}
        verdicts = truthful_verdicts(labels["default"], truth, VERDICTS, SEED)
        if verdicts:
            write_json(self.root / world / "verdicts.json", asdict(verdicts))
        labels[AUDITED] = self._label(world, AUDITED, shards, verdicts) if verdicts else labels["default"]
        return {
            run: score_run(folder, truth, self.kb, self.kinship, verdicts if run == AUDITED else None)
            for run, folder in labels.items()
        }

    def _label(self, world: str, run: str, shards: Sequence[Shard], verdicts: Verdicts | None = None) -> Folder:
        out = self.root / world / run
        self.watch.time(
            f"{world}: {run}",
            partial(
                label,
                shards,
                self.kb,
                self.encoder,
                out,
                RUNS[run],
                cache=self.root / "cache",
                verdicts=verdicts,
                progress=self.progress,
            ),
        )
        return Folder.open(out, "labels")


def main(
    out: Out = Path("runs/real"),
    demo: Demo = Path("runs/demo"),
    encoder: Annotated[str, Option("--encoder", metavar="SPEC", help="Encoder; the demo's by default.")] = "",
    as_json: Json = False,
) -> None:
    """Label outside drawings, photographs and icons, and score the labels against truths made by hand (Debian)."""
    run_study(
        lambda progress: run_real(out, demo, progress, encoder), as_json, lambda metrics: print_real(out, metrics)
    )


if __name__ == "__main__":
    run_command(main)

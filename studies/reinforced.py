"""Small encoders from scratch on the demo's dataset, with and without what teachers know of it.

Same image tower, same first weights, same pages, same number of images seen; only objectives, texts and what teachers
add differ. The goals are about `reinforced`: the class head, and what teachers know of images and texts.
`reinforced_contrastive` has no class head. The teachers are two of the demo's encoders. All are measured as in
`studies.comparison`, on entities that none of them has seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openmofi.cli.recipes import changes
from openmofi.encoders import open_encoder
from openmofi.engine import Progress, engine_named
from openmofi.plugins.protocols.retrieval import EXCL
from openmofi.plugins.reinforcement import AugmentSettings, ReinforceSettings, TeacherSpec, reinforce, tune_scale
from openmofi.plugins.reinforcement.teachers import LEAST_SCALE
from openmofi.storage import Shard, expand_shards, file_fingerprint, read_manifest, write_json, write_text
from openmofi.training.recipe.rules import load_recipe
from studies import recipe_path
from studies.command import Demo, Json, MaxEntities, Out, Set, run_command, run_study
from studies.comparison import BEST, RetrievalValues, compared_run, measure_encoder
from studies.reinforced_figures import print_reinforced, reinforced_report, replayed_samples
from studies.training import TrainingRun, train_side_by_side
from studies.world.demo import Stopwatch, demo_settings, label_world
from studies.world.encoder import PARTIAL_LABELS
from studies.world.sample_retrieval import ZERO_SHOT
from studies.world.world_settings import WorldSettings, world_settings

CONTRASTIVE, MULTI_TASK = "contrastive", "multi_task"
REINFORCED, REINFORCED_CONTRASTIVE = "reinforced", "reinforced_contrastive"
STUDENTS: Mapping[str, str] = {
    CONTRASTIVE: "sample_student_contrastive",
    MULTI_TASK: "sample_student_multi_task",
    REINFORCED: "sample_reinforced",
    REINFORCED_CONTRASTIVE: "sample_reinforced_contrastive",
}
AUGMENTATIONS, CAPTIONS = 17, 2
"""As often as an image is seen: five crops of so few images are soon known by heart (docs/reinforcement.md)."""
GOALS: Mapping[str, float] = {"over_contrastive": 0.20, "over_multi_task": 0.0}
"""The relative gain in mAP, query excluded, over plain contrastive, and the difference to plain multi-task."""

_TUNED_ON = 3
_PAIRS = 2048


@dataclass(frozen=True)
class ReinforcedStudy:
    """The study's folders and what all its runs share.

    Attributes:
        root: its own folder.
        demo: the demo's.
        progress: receives every step.
        watch: keeps the seconds.
        overrides: settings of all students, as `openmofi train --set` takes them.
    """

    root: Path
    demo: Path
    progress: Progress
    watch: Stopwatch
    overrides: tuple[str, ...] = ()

    @property
    def store(self) -> Path:
        """What the teachers know."""
        return self.root / "store"

    @property
    def shards(self) -> list[Shard]:
        """The training pages."""
        return expand_shards([str(self.demo / "world/pages/train")])

    @property
    def teachers(self) -> dict[str, str]:
        """Name → spec: heads learned from the labels, and the label job's own, learned from all links of a page."""
        return {
            BEST: compared_run(self.demo, BEST).encoder,
            PARTIAL_LABELS: f"run:{self.demo / 'encoders' / PARTIAL_LABELS}",
        }

    def student(self, name: str) -> TrainingRun:
        """The run of one of `STUDENTS`."""
        settings = demo_settings(self.demo)
        if name in (REINFORCED, REINFORCED_CONTRASTIVE):
            settings += changes(None, {"data.reinforcement.store": self.store})
        recipe = load_recipe(recipe_path(STUDENTS[name]), [*settings, *self.overrides])
        return TrainingRun(recipe, self.root / "students" / name)

    def measured(self, name: str, encoder: str) -> RetrievalValues:
        """What an encoder does with the held-out images."""
        return self.watch.time(
            "evaluation", lambda: measure_encoder(self.demo, encoder, self.root / "evaluation" / name, self.progress)
        )


def run_reinforced(
    out: str | Path,
    demo: str | Path,
    progress: Progress,
    *,
    overrides: Sequence[str] = (),
    settings: WorldSettings | None = None,
) -> dict[str, Any]:
    """Tune and store what the teachers know, train the students, measure all; finished steps are not repeated.

    Args:
        out: gets `scales.json`, `store/`, `students/`, `evaluation/`, `metrics.json`, `report.html`.
        demo: the demo's folder; world, labels, dataset and teachers are made where they are missing.
        progress: receives every step.
        overrides: settings of all students, e.g. few steps for a trial.
        settings: of the world.

    Returns:
        What `metrics.json` holds: see `reinforced_metrics`; `training` (student → what its run was), `store` (its
        counts and the fidelity of the stored similarities, by teacher), `seconds`; in `teachers` also their scales.

    Raises:
        OpenMofiError: a folder was made with other settings, or a part of the work failed.
    """
    root = Path(out)
    root.mkdir(parents=True, exist_ok=True)
    study = ReinforcedStudy(root, Path(demo), progress, Stopwatch.open(root / "seconds.json"), tuple(overrides))
    runs = {name: study.student(name) for name in STUDENTS}
    study.watch.time("demo", lambda: _make_demo(study, settings))
    scales = study.watch.time("scales", lambda: _scales(study))
    store = study.watch.time("store", lambda: _reinforce(study, scales, runs[REINFORCED]))
    study.watch.time("students", lambda: train_side_by_side(list(runs.values()), progress))
    metrics = reinforced_metrics(
        {name: study.measured(name, run.encoder) for name, run in runs.items()},
        {name: study.measured(f"teacher-{name}", spec) for name, spec in study.teachers.items()},
    )
    for name, figures in metrics["teachers"].items():
        figures |= scales[name]
    metrics |= {
        "training": {name: _trained(run) for name, run in runs.items()},
        "store": store,
        "seconds": study.watch.totals(),
    }
    write_json(root / "metrics.json", metrics)
    write_text(root / "report.html", reinforced_report(metrics, replayed_samples(study.store, study.shards)))
    return metrics


def _make_demo(study: ReinforcedStudy, settings: WorldSettings | None) -> None:
    label_world(study.demo, study.progress, settings=settings)
    teacher = compared_run(study.demo, BEST)
    if not ((teacher.out / "manifest.json").exists() and read_manifest(teacher.out, "run").finished):
        train_side_by_side([teacher], study.progress)


def _scales(study: ReinforcedStudy) -> dict[str, dict[str, Any]]:
    """Each teacher's scale, tuned on the last training pages; kept in a file with what it was tuned on."""
    path = study.root / "scales.json"
    records: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    shards = study.shards[-_TUNED_ON:]
    study.progress.begin("tune scales", len(study.teachers))
    for name, spec in study.teachers.items():
        teacher = open_encoder(spec)
        of = {"teacher": teacher.fingerprint, "shards": {shard.name: file_fingerprint(shard.path) for shard in shards}}
        if records.get(name, {}).get("of") != of:
            tuned = tune_scale(shards, spec, pairs=_PAIRS)
            # One that can hardly tell these texts apart is best near uniform, and would teach that.
            usable = tuned.scale >= LEAST_SCALE
            records[name] = {
                "of": of,
                "spec": spec,
                "scale": tuned.scale if usable else teacher.logit_scale,
                "scale_from": "tuned" if usable else "training",
                "own_scale": teacher.logit_scale,
                "tuned": asdict(tuned),
            }
            write_json(path, records)
        study.progress.advance({})
    return {name: {key: value for key, value in records[name].items() if key != "of"} for name in study.teachers}


def _reinforce(study: ReinforcedStudy, scales: Mapping[str, Mapping[str, Any]], student: TrainingRun) -> dict[str, Any]:
    """Store what the teachers know, of crops as the other students see them.

    Without RandAugment: over so few images a small encoder from scratch learns less from more altered ones.
    """
    model, seen = student.recipe.model.image, student.recipe.data.augment
    settings = ReinforceSettings(
        tuple(TeacherSpec(spec, scales[name]["scale"]) for name, spec in study.teachers.items()),
        AUGMENTATIONS,
        CAPTIONS,
        size=model.size,
        augment=AugmentSettings(scale=seen.scale, ratio=seen.ratio, flip=seen.flip, ops=0),
    )
    counts = reinforce(
        study.shards,
        study.demo / "labels",
        study.store,
        settings,
        kb=study.demo / "kb",
        dataset=study.demo / "dataset",
        engine=engine_named("processes"),
        progress=study.progress,
    )
    fidelity = dict(zip(study.teachers, counts["fidelity"].values(), strict=True))
    return counts | {
        "fidelity": fidelity,
        "precision": settings.precision,
        "settings": {
            "augmentations": AUGMENTATIONS,
            "captions": CAPTIONS,
            "size": settings.size,
            "augment": asdict(settings.augment),
        },
    }


def reinforced_metrics(
    students: Mapping[str, RetrievalValues], teachers: Mapping[str, RetrievalValues]
) -> dict[str, Any]:
    """All figures of quality.

    Args:
        students: of each of `STUDENTS`.
        teachers: by name.

    Returns:
        Student → its figures (`map_excl_query`, `map_incl_query`, `zero_shot` and their intervals, 95 %, over
        entities); `teachers`, likewise; `differences` (`OURS_over_THEIRS` → metric → see `PairedDifference`);
        `relative`: the gain of `reinforced` over `contrastive` in mAP, query excluded, as a share; `goals`.
    """
    differences = {
        f"{ours}_over_{theirs}": {metric: students[ours].over(students[theirs], metric) for metric in (EXCL, ZERO_SHOT)}
        for ours in (REINFORCED, REINFORCED_CONTRASTIVE)
        for theirs in (CONTRASTIVE, MULTI_TASK)
    }
    values = {
        "over_contrastive": differences[f"{REINFORCED}_over_{CONTRASTIVE}"][EXCL]["gain"],
        "over_multi_task": differences[f"{REINFORCED}_over_{MULTI_TASK}"][EXCL]["difference"],
    }
    # On a par is not above.
    met = {
        "over_contrastive": values["over_contrastive"] >= GOALS["over_contrastive"],
        "over_multi_task": values["over_multi_task"] > GOALS["over_multi_task"],
    }
    return {
        **{name: student.figures() for name, student in students.items()},
        "teachers": {name: teacher.figures() for name, teacher in teachers.items()},
        "differences": differences,
        "relative": values["over_contrastive"],
        "goals": {name: {"goal": goal, "found": values[name], "met": met[name]} for name, goal in GOALS.items()},
    }


def _trained(run: TrainingRun) -> dict[str, Any]:
    """What a student's run was; `known`: share of the last interval's images that the store knew."""
    manifest = read_manifest(run.out, "run")
    settings, counts = manifest.settings, manifest.counts
    return {
        "recipe": settings["name"],
        "steps": counts["steps"],
        "batch_size": settings["data.batch_size"],
        "images_seen": counts["steps"] * settings["data.batch_size"],
        "lr": settings["optimizer.lr"],
        "seed": settings["run.seed"],
        "images_per_s": counts["metrics"]["images_per_s"],
        "known": counts["metrics"].get("reinforced/known"),
    }


def main(
    out: Out = Path("runs/reinforced"),
    demo: Demo = Path("runs/demo"),
    settings: Set = None,
    max_entities: MaxEntities = 0,
    as_json: Json = False,
) -> None:
    """Small encoders from scratch, with and without teachers' stored knowledge."""
    run_study(
        lambda progress: run_reinforced(
            out, demo, progress, overrides=settings or (), settings=world_settings(None, max_entities)
        ),
        as_json,
        lambda metrics: print_reinforced(out, metrics),
    )


if __name__ == "__main__":
    run_command(main)

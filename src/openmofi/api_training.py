"""The front door of training, beside `openmofi.api`: `openmofi.train`, `openmofi.reinforce`, `study_size`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmofi.errors import UsageError
from openmofi.given import Folder, Pairs, check_placement, overrides_of, place_of, shards_of
from openmofi.progress import shown_progress

if TYPE_CHECKING:
    from openmofi.dataset.objects import Dataset, Labels
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase
    from openmofi.training.outcome import Run


def reinforce(
    pairs: Pairs,
    *,
    labels: Labels | Folder,
    teachers: str,
    out: Folder,
    kb: KnowledgeBase | Folder | None = None,
    dataset: Dataset | Folder | None = None,
    device: str = "auto",
    teacher_precision: str = "fp32",
    engine: str = "auto",
    restart: bool = False,
    progress: bool | Progress | None = None,
    **settings: Any,
) -> Mapping[str, Any]:
    """Store augmentations, synthetic captions and teachers' embeddings of labelled pairs; no image is copied.

    Args:
        pairs: as of `openmofi.label`.
        labels: what `openmofi.label` returned for them.
        teachers: `SPEC:SCALE[,…]`, encoders with their own scales.
        out: folder of the store.
        kb: describes the entities in the synthetic captions.
        dataset: only the rows of this dataset.
        device, teacher_precision: of the teachers, as of `openmofi.load_encoder`.
        engine, restart, progress: as of `openmofi.label`.
        settings: of `openmofi.reinforcement.ReinforceSettings`, e.g. `augmentations=5`.

    Returns:
        Counts: `rows`, `status`, `bytes_per_sample`, `fidelity` …

    Raises:
        OpenMofiError: the labels are of other pairs, or a teacher cannot be opened.
    """
    from openmofi import reinforcement
    from openmofi.engine import engine_named

    check_placement(device, teacher_precision)
    with shown_progress(progress) as shown:
        return reinforcement.reinforce(
            shards_of(pairs),
            place_of(labels),
            out,
            reinforcement.ReinforceSettings(reinforcement.parse_teachers(teachers), **settings),
            kb=None if kb is None else place_of(kb),
            dataset=None if dataset is None else place_of(dataset),
            device=device,
            teacher_precision=teacher_precision,
            engine=engine_named(engine),
            progress=shown,
            restart=restart,
        )


def train(
    recipe: str | Path,
    *,
    out: Folder,
    dataset: Dataset | Folder | None = None,
    labels: Labels | Folder | None = None,
    encoder: str = "",
    kb: KnowledgeBase | Folder | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
    resume: bool = False,
    restart: bool = False,
    progress: bool | Progress | None = None,
) -> Run:
    """Train an encoder on a labelled dataset, as a recipe says.

    Args:
        recipe: a packaged recipe by name, or a YAML file.
        out: folder of the run.
        dataset: what `openmofi.build_dataset` returned, or its folder.
        labels: what `openmofi.label` returned, or its folder (or a dataset's), in place of `dataset`, which is built in
            `out`.
        encoder: spec of a frozen encoder on which heads are trained, see `openmofi.load_encoder`.
        kb: names of entities.
        settings: changes to the recipe, as `{"optimizer.lr": 3e-4}` or `["optimizer.lr=3e-4"]`.
        resume: go on from the latest checkpoint in `out`.
        restart, progress: see `openmofi.api`.

    Raises:
        UsageError: an unknown recipe or setting, or settings that contradict each other.
        OpenMofiError: the data are not there; the run was stopped and `resume` is not set.
    """
    from openmofi.progress import shown_training
    from openmofi.training.recipe.rules import load_recipe, require_data

    if labels is not None and dataset is not None:
        raise UsageError("labels and a dataset are given.", "Give one of them.")
    given = {"data.dataset": labels if dataset is None else dataset, "data.kb": kb}
    folders = overrides_of({key: str(place_of(value)) for key, value in given.items() if value is not None})
    changed = overrides_of(settings)
    if encoder:
        from openmofi.training.entity_head.over import over_encoder

        changed = [*over_encoder(load_recipe(recipe, changed), encoder), *changed]
    loaded = load_recipe(recipe, [*changed, *folders])
    require_data(loaded)
    from openmofi.training.outcome import Run
    from openmofi.training.run import train as run_training

    with shown_training(progress) as (watcher, shown):
        summary = run_training(
            loaded, out, resume=resume, watcher=watcher, progress=shown, restart=restart, labels=labels is not None
        )
    return Run(Path(out), summary)


def study_size(
    datasets: Sequence[Dataset | Folder],
    *,
    out: Folder,
    kb: KnowledgeBase | Folder | None = None,
    recipe: str | Path = "entity_head",
    encoder: str = "",
    benchmark: str = "",
    engine: str = "auto",
    settings: Mapping[str, Any] | Sequence[str] = (),
    progress: bool | Progress | None = None,
    **varied: Any,
) -> Mapping[str, Any]:
    """Compare entities with alt-text at equal numbers of pairs, and of equally sure labels; see docs/training.md.

    Args:
        datasets: what `openmofi.build_dataset` returned, or folders.
        out: folder of the study; what was trained there is not trained again.
        kb: names of entities.
        recipe, settings: towers, optimiser and steps, as of `train`; objectives and texts are the study's.
        encoder: spec of a frozen encoder on which heads are trained.
        benchmark: `PROTOCOL=DIR`, data of a retrieval protocol that is measured in place of held-out entities.
        engine, progress: as of `openmofi.label`.
        varied: of `studies.size.size.SizeSettings`, e.g. `sizes=(0.5, 1.0)`.

    Returns:
        What `OUT/metrics.json` holds: of each dataset its curves.

    Raises:
        UsageError: settings that do not fit each other or the datasets.
        OpenMofiError: data are missing; a run failed, and the others are kept.
    """
    from openmofi.engine import engine_named
    from openmofi.training.recipe.rules import load_recipe
    from studies.size.runs import Benchmark
    from studies.size.size import SizeSettings, run_size_study

    changed = overrides_of(settings)
    if encoder:
        from openmofi.training.entity_head.over import over_encoder

        changed = [*over_encoder(load_recipe(recipe, changed), encoder), *changed]
    if kb is not None:
        changed = [*changed, *overrides_of({"data.kb": str(place_of(kb))})]
    with shown_progress(progress) as shown:
        return run_size_study(
            [place_of(dataset) for dataset in datasets],
            out,
            SizeSettings(**varied),
            shown,
            engine=engine_named(engine),
            recipe=recipe,
            overrides=changed,
            benchmark=Benchmark.parse(benchmark) if benchmark else None,
        )

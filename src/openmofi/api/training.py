"""`openmofi.train`, `openmofi.reinforce` and `openmofi.study_size`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from openmofi.api.given import Folder, Pairs, check_placement, place_of, public, shards_of
from openmofi.config import changed
from openmofi.errors import UsageError
from openmofi.progress import shown_progress
from openmofi.reinforcement.reinforce_settings import ReinforceSettings

if TYPE_CHECKING:
    from openmofi.api.changes import ReinforceChanges
    from openmofi.dataset.objects import Dataset, Labels
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase
    from openmofi.training.outcome import Run
    from openmofi.training.recipe.schema import Recipe


@public(ReinforceSettings, without=("teachers", "augment"))
def reinforce(
    pairs: Pairs,
    *,
    labels: Labels | Folder,
    teachers: str,
    out: Folder,
    kb: KnowledgeBase | Folder | None = None,
    dataset: Dataset | Folder | None = None,
    settings: ReinforceSettings | None = None,
    device: str = "auto",
    teacher_precision: str = "fp32",
    engine: str = "auto",
    restart: bool = False,
    progress: bool | Progress | None = None,
    **changes: Unpack[ReinforceChanges],
) -> Mapping[str, Any]:
    """Store augmentations, synthetic texts and teachers' embeddings of labelled pairs; no image is copied.

    Args:
        pairs: shards of pairs, as `label` took them.
        labels: folder of their labels. In Python also what `label` returned.
        teachers: `SPEC:SCALE[,…]`, encoders, each with its own scale.
        out: folder of the store.
        kb: knowledge base of the labels; describes entities in the synthetic texts.
        dataset: only the rows of this dataset, built of the labels; by default every usable pair.
        device: of the teachers: `cpu`, `cuda`, `cuda:1` …; `auto` is `cuda` where there is one.
        teacher_precision: of the teachers' towers: `fp32`, `bf16` or `fp16`.

    Returns:
        Counts: `rows`, `status`, `bytes_per_sample`, `fidelity` …

    Raises:
        UsageError: a setting is unknown or out of its range.
        OpenMofiError: the labels are of other pairs, or a teacher cannot be opened.
    """
    from openmofi import reinforcement
    from openmofi.engine import engine_named

    check_placement(device, teacher_precision)
    specs = reinforcement.parse_teachers(teachers)
    settings = changed(settings or ReinforceSettings(specs), {**changes, "teachers": specs})
    with shown_progress(progress) as shown:
        return reinforcement.reinforce(
            shards_of(pairs),
            place_of(labels),
            out,
            settings,
            kb=None if kb is None else place_of(kb),
            dataset=None if dataset is None else place_of(dataset),
            device=device,
            teacher_precision=teacher_precision,
            engine=engine_named(engine),
            progress=shown,
            restart=restart,
        )


@public()
def train(
    recipe: str | Path | Recipe,
    *,
    out: Folder,
    dataset: Dataset | Folder | None = None,
    labels: Labels | Folder | None = None,
    encoder: str = "",
    kb: KnowledgeBase | Folder | None = None,
    resume: bool = False,
    restart: bool = False,
    progress: bool | Progress | None = None,
    **changes: Any,
) -> Run:
    """Train an image encoder on a labelled dataset, as a recipe says.

    Settings of the recipe are changed by keyword: a section, as `optimizer={"lr": 3e-4}`; a setting that has its name
    alone, as `steps=500`; or its path, as `**{"optimizer.lr": 3e-4}`.

    Args:
        recipe: a packaged recipe by name (`openmofi train --list` shows them), or a YAML file. In Python also a
            `Recipe`.
        out: folder of the run; the encoder opens as `run:OUT/encoder`.
        dataset: folder that `openmofi dataset build` wrote. In Python also what `build_dataset` returned.
        labels: folder that `openmofi label` (or `dataset build`) wrote, in place of `dataset`; the dataset is built in
            the run's folder. In Python also what `label` returned.
        encoder: frozen encoder on whose features heads are trained; for the recipe entity_head.
        kb: knowledge base, for the names of entities.
        resume: go on from the latest checkpoint of the run; start where there is none.

    Raises:
        UsageError: an unknown recipe or setting, or settings that contradict each other.
        OpenMofiError: the data are not there; the run was stopped and `resume` is not set.
    """
    from openmofi.progress import shown_training
    from openmofi.training.recipe.rules import load_recipe, require_data

    if labels is not None and dataset is not None:
        raise UsageError("labels and a dataset are given.", "Give one of them.")
    given = {"data.dataset": labels if dataset is None else dataset, "data.kb": kb}
    folders = {key: str(place_of(value)) for key, value in given.items() if value is not None}
    heads: Sequence[str] = ()
    if encoder:
        from openmofi.training.entity_head.over import over_encoder

        heads = over_encoder(load_recipe(recipe, changes=changes), encoder)
    loaded = load_recipe(recipe, heads, changes | folders)
    require_data(loaded)
    from openmofi.training.outcome import Run
    from openmofi.training.run import train

    with shown_training(progress) as (watcher, shown):
        summary = train(
            loaded, out, resume=resume, watcher=watcher, progress=shown, restart=restart, labels=labels is not None
        )
    return Run(Path(out), summary)


@public()
def study_size(
    datasets: Sequence[Dataset | Folder],
    *,
    out: Folder,
    kb: KnowledgeBase | Folder | None = None,
    recipe: str | Path = "entity_head",
    overrides: Sequence[str] = (),
    encoder: str = "",
    benchmark: str = "",
    engine: str = "auto",
    progress: bool | Progress | None = None,
    **changes: Any,
) -> Mapping[str, Any]:
    """Compare entities with alt-text at equal numbers of pairs, and of equally sure labels; see docs/training.md.

    What is varied is changed by keyword: fields of `studies.size.size.SizeSettings`, as `sizes=(0.5, 1.0)`.

    Args:
        datasets: folders that `openmofi dataset build` wrote. In Python also what `build_dataset` returned.
        out: folder of the study; what was trained there is not trained again.
    <<<<<<< HEAD:src/openmofi/api/training.py
        kb: knowledge base, for the names of entities.
        recipe: towers, optimiser and steps; objectives and texts are the study's.
        overrides: changes to the recipe, as `KEY=VALUE`.
        encoder: frozen encoder on whose features heads are trained.
        benchmark: `PROTOCOL=DIR`: measure on the data of a retrieval protocol instead, and hold out no entities.
    =======
        kb: names of entities.
        recipe, settings: towers, optimiser and steps, as of `train`; objectives and texts are the study's.
        encoder: spec of a frozen encoder on which heads are trained.
        benchmark: `PROTOCOL=DIR`, data of a retrieval protocol that is measured in place of held-out entities.
        engine, progress: as of `openmofi.label`.
        varied: of `studies.size.size.SizeSettings`, e.g. `sizes=(0.5, 1.0)`.
    >>>>>>> main:src/openmofi/api_training.py

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

    lines = list(overrides)
    if encoder:
        from openmofi.training.entity_head.over import over_encoder

        lines = [*over_encoder(load_recipe(recipe, lines), encoder), *lines]
    if kb is not None:
        lines.append(f'data.kb="{place_of(kb)}"')
    with shown_progress(progress) as shown:
        return run_size_study(
            [place_of(dataset) for dataset in datasets],
            out,
            changed(SizeSettings(), changes),
            shown,
            engine=engine_named(engine),
            recipe=recipe,
            overrides=lines,
            benchmark=Benchmark.parse(benchmark) if benchmark else None,
        )

"""`openmofi.train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmofi.api.given import Folder, place_of, public
from openmofi.errors import UsageError

if TYPE_CHECKING:
    from openmofi.dataset.objects import Dataset, Labels
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase
    from openmofi.training.recipe import Recipe
    from openmofi.training.run import Run


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
        from openmofi.training.recipe.rules import over_encoder

        heads = over_encoder(load_recipe(recipe, changes=changes), encoder)
    loaded = load_recipe(recipe, heads, changes | folders)
    require_data(loaded)
    from openmofi.training.run import Run, train

    with shown_training(progress) as (watcher, console):
        summary = train(
            loaded, out, resume=resume, watcher=watcher, progress=console, restart=restart, labels=labels is not None
        )
    return Run(Path(out), summary)

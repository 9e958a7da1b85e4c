"""`openmofi.reinforce`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from openmofi.api.given import Folder, Pairs, check_placement, place_of, public, shards_of
from openmofi.config import changed
from openmofi.plugins.reinforcement.reinforce_settings import ReinforceSettings
from openmofi.progress import shown_progress

if TYPE_CHECKING:
    from openmofi.api.changes import ReinforceChanges
    from openmofi.dataset.objects import Dataset, Labels
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase


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
    from openmofi.engine import engine_named
    from openmofi.plugins import reinforcement

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

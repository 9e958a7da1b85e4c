"""`openmofi.label` and `openmofi.explain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from openmofi.api.given import Folder, PairsLike, check_placement, encoder_of, kb_of, public, shards_of, verdicts_of
from openmofi.config import changed
from openmofi.labeling.label_settings import LabelSettings
from openmofi.progress import shown_progress

if TYPE_CHECKING:
    from openmofi.api.changes import ExplainChanges, LabelChanges
    from openmofi.dataset.objects import Labels
    from openmofi.encoders import EncoderLike, ImageInput
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase
    from openmofi.labeling.explain import Explanation


@public(LabelSettings)
def label(
    pairs: PairsLike,
    *,
    kb: KnowledgeBase | Folder,
    encoder: EncoderLike,
    out: Folder,
    settings: LabelSettings | None = None,
    calibration: Folder | None = None,
    verdicts: Folder | None = None,
    cache: Folder | None = None,
    device: str = "auto",
    precision: str = "fp32",
    compile: bool = False,
    engine: str = "auto",
    restart: bool = False,
    progress: bool | Progress | None = None,
    **changes: Unpack[LabelChanges],
) -> Labels:
    """Label image–text pairs with the entities that their images show; goes on where an earlier call stopped.

    Args:
        pairs: tar or Parquet shards, folders, globs, ranges such as `pairs-{000..099}.tar`, URLs. In Python also a data
            frame, or a list of (image, text), which is stored as `OUT.pairs.parquet`.
        out: folder of the labels, also in a store such as s3://….
        calibration: a label job's `calibration.json` to use, instead of fitting one.
        verdicts: choose the threshold for `target_precision` by people's verdicts on earlier labels of these pairs:
            what `openmofi label audit` saved, an index (its folder or address), or what `openmofi index verdicts`
            wrote.
        compile: compile the encoder's image side by `torch.compile`; pays on long jobs.

    Raises:
        UsageError: a setting is unknown or out of its range, or an encoder cannot judge.
        OpenMofiError: `out` was made with other settings, or there is too little to calibrate on. At the end, where
            shards failed: the others are labelled, and `Labels.open(out)` opens them.
    """
    from openmofi import labeling
    from openmofi.api.in_memory import stored
    from openmofi.dataset.objects import Labels
    from openmofi.engine import engine_named
    from openmofi.pairs.formats.columns import check_patterns

    check_placement(device, precision)
    settings = changed(settings or LabelSettings(), changes)
    names, read = stored(pairs, out, settings.read, restart=restart)
    settings, shards = replace(settings, read=read), shards_of(names)
    check_patterns(settings.read, [shard.path for shard in shards])
    with shown_progress(progress) as console:
        opened, judge = kb_of(kb, console), encoder_of(encoder, device, precision)
        labeling.label(
            shards,
            opened,
            judge.compiled() if compile else judge,
            out,
            settings,
            cache=cache,
            calibration=calibration,
            verdicts=verdicts_of(verdicts) if verdicts else None,
            engine=engine_named(engine),
            progress=console,
            restart=restart,
        )
    return Labels.open(out)


@public(
    LabelSettings,
    without=(
        "adapt",
        "rescue",
        "batch_size",
        "max_image_pixels",
        "read",
        "seed",
        "asking",
        "target_precision",
        "confidence",
        "trust_anyway",
    ),
)
def explain(
    image: ImageInput,
    text: str | Mapping[str, str],
    *,
    kb: KnowledgeBase | Folder,
    encoder: EncoderLike,
    settings: LabelSettings | None = None,
    calibration: Folder | None = None,
    cache: Folder | None = None,
    device: str = "auto",
    precision: str = "fp32",
    progress: bool | Progress | None = None,
    **changes: Unpack[ExplainChanges],
) -> Explanation:
    """Explain one pair: its mentions, their candidates, what the image says of each, and each decision.

    Args:
        image: the image's path. In Python also encoded bytes, a PIL image or a uint8 array (height, width, 3).
        text: its text; several by the names of their kinds, such as title and tags. In Python as in
            `{"title": …, "tags": …}`.
        calibration: a label job's `calibration.json`; by default the one beside the encoder. In Python also that of a
            job which labelled with this encoder object before.
        cache: folder that keeps entity embeddings; ~/.cache/openmofi where not given.

    Raises:
        UsageError: a setting is unknown or out of its range.
        OpenMofiError: the image cannot be read, or there is no calibration for this encoder and knowledge base.
    """
    from openmofi import labeling
    from openmofi.storage.copies import cache_folder

    check_placement(device, precision)
    settings = changed(settings or LabelSettings(), changes)
    with shown_progress(progress) as console:
        return labeling.explain(
            image,
            text,
            kb_of(kb, console),
            encoder_of(encoder, device, precision),
            settings,
            cache=Path(cache) if cache else cache_folder(),
            calibration=calibration,
            progress=console,
        )

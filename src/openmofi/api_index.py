"""The front door of indexes: what `openmofi.build_index` is, beside `openmofi.api`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from openmofi.given import Folder, Pairs, check_placement, encoder_of, kb_of
from openmofi.progress import shown_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openmofi.encoders import EncoderLike
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase
    from openmofi.search import Index


def build_index(images: Pairs, *, encoder: EncoderLike, out: Folder, kb: KnowledgeBase | Folder | None = None,
                entities: Literal["auto", "judged", "all"] = "auto",
                template: str = "{name}: {description}", dtype: Literal["float16", "float32"] = "float16",
                text_column: str | Sequence[str] = "", image_column: str | Sequence[str] = "",
                key_column: str | Sequence[str] = "", image_root: Folder = "", device: str = "auto",
                precision: str = "fp32", progress: bool | Progress | None = None) -> Index:
    """Build an index of images, or bring one that is there up to date; see docs/search.md.

    Images stay where they are, and those that have not changed are not embedded again.

    Args:
        images: shards, folders of images or tables (see `openmofi.api.Pairs`), or folders of labels.
        encoder: an `Encoder`, a spec, or one of your own.
        out: the index's folder, on a local disk, or `postgresql://USER@HOST/DATABASE?schema=NAME`.
        kb: names, descriptions, types and aliases of entities; that of the labels where not given.
        entities: which of them the index knows: `judged` by the label job, `all`, or `auto`: all up to 50,000.
        template: entity text for the encoder.
        dtype: of the vectors on disk.
        text_column, image_column, key_column, image_root: of tables, see `openmofi.label`.
        device, precision: of an encoder that is given by its spec.
        progress: see `openmofi.api`.

    Raises:
        UsageError: an input matches nothing, or an encoder that cannot compare images.
        OpenMofiError: an input cannot be read; `out` has another encoder, or another process writes it.
    """
    from openmofi.pairs import ReadSettings
    from openmofi.pairs.formats.columns import column_setting
    from openmofi.search import Index, build

    check_placement(device, precision)
    read = ReadSettings(text_column=column_setting(text_column), image_column=column_setting(image_column),
                        key_column=column_setting(key_column), image_root=str(image_root))
    opened = encoder_of(encoder, device, precision)
    inputs = [str(each) for each in ([images] if isinstance(images, str | Path) else images)]
    with shown_progress(progress) as shown:
        changes = build(inputs, opened, out, kb=kb_of(kb, shown) if kb else None, entities=entities,
                        template=template, dtype=dtype, read=read, progress=shown)
    index = Index.open(out, opened)
    index.changes = changes
    return index

"""The front door of indexes, beside `openmofi.api`: `openmofi.build_index` and `openmofi.recognise`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from openmofi.given import Folder, Pairs, check_placement, encoder_of, kb_of, place_of, shards_of
from openmofi.progress import shown_progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from openmofi.encoders import EncoderLike
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase
    from openmofi.search import Index


def build_index(
    images: Pairs,
    *,
    encoder: EncoderLike,
    out: Folder,
    kb: KnowledgeBase | Folder | None = None,
    entities: Literal["auto", "judged", "all"] = "auto",
    template: str = "{name}: {description}",
    dtype: Literal["float16", "float32"] = "float16",
    text_column: str | Sequence[str] = "",
    image_column: str | Sequence[str] = "",
    key_column: str | Sequence[str] = "",
    image_root: Folder = "",
    device: str = "auto",
    precision: str = "fp32",
    progress: bool | Progress | None = None,
) -> Index:
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
    read = ReadSettings(
        text_column=column_setting(text_column),
        image_column=column_setting(image_column),
        key_column=column_setting(key_column),
        image_root=str(image_root),
    )
    opened = encoder_of(encoder, device, precision)
    inputs = [str(each) for each in ([images] if isinstance(images, str | Path) else images)]
    with shown_progress(progress) as shown:
        changes = build(
            inputs,
            opened,
            out,
            kb=kb_of(kb, shown) if kb else None,
            entities=entities,
            template=template,
            dtype=dtype,
            read=read,
            progress=shown,
        )
    index = Index.open(out, opened)
    index.changes = changes
    return index


def recognise(
    images: Pairs,
    *,
    index: Index | Folder,
    out: Folder,
    limit: int = 5,
    unnamed: float = 0.1,
    encoder: EncoderLike | None = None,
    cache: Folder | None = None,
    on_damage: Literal["stop", "keep"] = "stop",
    max_unpack_ratio: int = 200,
    text_column: str | Sequence[str] = "",
    image_column: str | Sequence[str] = "",
    key_column: str | Sequence[str] = "",
    image_root: Folder = "",
    max_image_pixels: int = 89_478_485,
    batch_size: int = 64,
    device: str = "auto",
    precision: str = "fp32",
    engine: str = "auto",
    restart: bool = False,
    progress: bool | Progress | None = None,
) -> Mapping[str, Any]:
    """Say of many images what they may show, by an index; goes on where an earlier call stopped.

    `Index.recognise` does the same for one image.

    Args:
        images: shards, as of `openmofi.label`; their texts play no part.
        index: an index or its folder.
        out: gets `recognised/<shard>.parquet`, a row an image (`openmofi.schema.RECOGNISED`).
        limit: entities of an image, at most, likeliest first.
        unnamed: share of the images that show what no label of the index names.
        encoder: the index's, as of `build_index`; by the spec that it was built with where not given.
        cache: features, shared with label jobs of the same pairs; `out` where not given.
        on_damage, max_unpack_ratio, text_column, image_column, key_column, image_root, max_image_pixels, batch_size,
            engine: as of `openmofi.label`.
        device, precision: of an encoder that is given by its spec.
        restart, progress: see `openmofi.api`.

    Returns:
        Counts: `rows_in`, `rows_out`, `status` (status → rows), `expected`, `unnamed`, `device`, `precision`; see
        `openmofi.search.recognising.recognise_shards`.

    Raises:
        UsageError: a setting out of its range.
        OpenMofiError: there is no index, or another encoder built it; `out` was made with other settings. At the end,
            where shards failed: the others are done.
    """
    from openmofi.engine import engine_named
    from openmofi.pairs import ReadSettings
    from openmofi.pairs.formats.columns import check_patterns, column_setting
    from openmofi.search import Index
    from openmofi.search.recognising import RecogniseSettings, recognise_shards

    check_placement(device, precision)
    read = ReadSettings(
        on_damage=on_damage,
        max_unpack_ratio=max_unpack_ratio,
        text_column=column_setting(text_column),
        image_column=column_setting(image_column),
        key_column=column_setting(key_column),
        image_root=str(image_root),
    )
    settings = RecogniseSettings(limit, batch_size, max_image_pixels, read, unnamed)
    shards = shards_of(images)
    check_patterns(read, [shard.path for shard in shards])
    opened = index if isinstance(index, Index) else Index.open(index)
    given = encoder_of(encoder, device, precision) if encoder is not None else None
    if given is None:
        given = opened.encoder if isinstance(index, Index) else encoder_of(opened.info().encoder, device, precision)
    with shown_progress(progress) as shown:
        return recognise_shards(
            shards,
            opened.path,
            given,
            place_of(out),
            settings,
            cache=cache,
            engine=engine_named(engine),
            progress=shown,
            restart=restart,
        )

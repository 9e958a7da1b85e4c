"""`openmofi.build_index` and `openmofi.recognise`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from openmofi.api.given import Folder, Pairs, check_placement, encoder_of, kb_of, place_of, public, shards_of
from openmofi.config import changed
from openmofi.extensions import own_part
from openmofi.knowledge.texts import DEFAULT_TEMPLATE
from openmofi.pairs import ReadSettings
from openmofi.progress import shown_progress
from openmofi.search.recognise_settings import RecogniseSettings
from openmofi.storage.addresses import in_object_store

if TYPE_CHECKING:
    from openmofi.api.changes import BuildIndexChanges, RecogniseChanges
    from openmofi.encoders import EncoderLike
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase
    from openmofi.search import Index


@public(ReadSettings, without=("max_text_chars", "max_image_bytes", "on_damage", "max_unpack_ratio", "url_column"))
def build_index(
    images: Pairs,
    *,
    encoder: EncoderLike,
    out: Folder,
    kb: KnowledgeBase | Folder | None = None,
    settings: ReadSettings | None = None,
    entities: Literal["auto", "judged", "all"] = "auto",
    template: str = DEFAULT_TEMPLATE,
    dtype: Literal["float16", "float32"] = "float16",
    device: str = "auto",
    precision: str = "fp32",
    progress: bool | Progress | None = None,
    **changes: Unpack[BuildIndexChanges],
) -> Index:
    """Build an index of images, or go on with one: images that have not changed are not embedded again.

    The images stay where they are; see docs/search.md.

    Args:
        images: folders of images, tar or Parquet, tables, globs; or folders of labels.
        out: folder of the index, or `postgresql://USER@HOST/DATABASE?schema=NAME`. One in a store such as s3://… is
            built in a folder of this machine's cache, and published at the end.
        kb: knowledge base: names, descriptions, types and aliases of entities; by default the labels' own.
        entities: which the index knows: `judged` by the label job, `all` of the knowledge base, or `auto`: all up to
            50,000.
        template: entity text for the encoder.
        dtype: of the vectors on disk.

    Raises:
        UsageError: an input matches nothing, or an encoder that cannot compare images.
        OpenMofiError: an input cannot be read; `out` has another encoder, or another process writes it.
    """
    from openmofi.search import Index, build
    from openmofi.search.incoming import sources_of

    check_placement(device, precision)
    read = changed(settings or ReadSettings(), changes)
    paths = [str(each) for each in ([images] if isinstance(images, str | Path) else images)]
    if stored := in_object_store(out):
        sources_of(paths, read)  # says what is missing before encoder and store are asked
    opened = encoder_of(encoder, device, precision)
    with shown_progress(progress) as console:
        base = kb_of(kb, console) if kb else None
        given = (paths, opened.fingerprint, base.fingerprint if base else "", entities, template, dtype, read)
        with own_part("snapshots", "build")(str(out), given, console) if stored else nullcontext(out) as folder:
            index_changes = build(
                paths,
                opened,
                folder,
                kb=base,
                entities=entities,
                template=template,
                dtype=dtype,
                read=read,
                progress=console,
            )
    index = Index.open(out, opened)
    index.changes = index_changes
    return index


@public(RecogniseSettings, without=("max_text_chars", "max_image_bytes", "url_column"))
def recognise(
    images: Pairs,
    *,
    index: Index | Folder,
    out: Folder,
    settings: RecogniseSettings | None = None,
    encoder: EncoderLike | None = None,
    cache: Folder | None = None,
    device: str = "auto",
    precision: str = "fp32",
    engine: str = "auto",
    restart: bool = False,
    progress: bool | Progress | None = None,
    **changes: Unpack[RecogniseChanges],
) -> Mapping[str, Any]:
    """Say what many images may show, by an index, with probabilities and evidence; goes on where a call stopped.

    `Index.recognise` does the same for one image.

    Args:
        images: shards, as `label` takes them; their texts play no part.
        index: folder of the index, or its address in PostgreSQL. In Python also an `Index`.
        out: folder that gets `recognised/<shard>.parquet`, a row an image (`openmofi.schema.RECOGNISED`); also in a
            store such as s3://….
        encoder: where the one of the index has moved to.
        cache: folder that keeps features, shared with label jobs of the same pairs; the output where not given.

    Returns:
        Counts: `rows_in`, `rows_out`, `status` (status → rows), `expected`, `unnamed`, `expected_unnamed`, `device`,
        `precision`; see `openmofi.search.recognising.recognise_shards`.

    Raises:
        UsageError: a setting is unknown or out of its range.
        OpenMofiError: there is no index, or another encoder built it; `out` was made with other settings. At the end,
            where shards failed: the others are done.
    """
    from openmofi.engine import engine_named
    from openmofi.pairs.formats.columns import check_patterns
    from openmofi.search import Index
    from openmofi.search.recognising import recognise_shards

    check_placement(device, precision)
    settings = changed(settings or RecogniseSettings(), changes)
    shards = shards_of(images)
    check_patterns(settings.read, [shard.path for shard in shards])
    opened = index if isinstance(index, Index) else Index.open(index)
    if encoder is None and isinstance(index, Index):
        judge = opened.encoder
    else:
        judge = encoder_of(opened.info().encoder if encoder is None else encoder, device, precision)
    with shown_progress(progress) as console:
        return recognise_shards(
            shards,
            opened.path,
            judge,
            place_of(out),
            settings,
            cache=cache,
            engine=engine_named(engine),
            progress=console,
            restart=restart,
        )

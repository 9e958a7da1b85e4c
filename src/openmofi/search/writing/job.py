"""Building an index, adding to it, removing from it; killed at any moment, the last commit stands."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from openmofi.encoders import Encoder
from openmofi.engine import Progress, Quiet
from openmofi.errors import UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.texts import DEFAULT_TEMPLATE, check_template
from openmofi.pairs import ReadSettings
from openmofi.search.rank.calibration import Ending
from openmofi.search.rank.fitting import fit_ending
from openmofi.search.rank.opening import refresh_cache
from openmofi.search.rank.state import State
from openmofi.search.records import Changes
from openmofi.search.store.address import Place, place_of
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import (
    last_commit,
    meta,
    note_commit,
    only_writer,
    require_encoder,
    set_meta,
    transaction,
)
from openmofi.search.store.segments import FOLDER, remove_unnamed
from openmofi.search.verdicts import note_labels
from openmofi.search.writing.entities import keep_entities
from openmofi.search.writing.incoming import sources_of
from openmofi.search.writing.writer import Writer, drop_images
from openmofi.storage import make_folder, require_local


def build(
    inputs: Sequence[str],
    encoder: Encoder,
    out: str | Place,
    *,
    kb: KnowledgeBase | None = None,
    entities: Literal["auto", "judged", "all"] = "auto",
    template: str = DEFAULT_TEMPLATE,
    dtype: Literal["float16", "float32"] = "float16",
    read: ReadSettings = ReadSettings(),
    progress: Progress | None = None,
) -> Changes:
    """Build an index of images, or bring one that is there up to date with `inputs`.

    Images stay where they are. Those that have not changed are not embedded again: by size and time of a file, else by
    a hash of its bytes. Of `inputs` that are in the index already, images that are gone are removed.

    Args:
        inputs: shards, folders of images, tables, or folders of labels, whose pairs and entities come in.
        encoder: embeds images, and texts where it has a text side.
        out: the index: a local folder, or a `postgresql://…` address.
        kb: names, descriptions, types, aliases and classes of entities; that of the labels where it is not given.
        entities: which of them the index knows: `judged` in some image, `all` of the knowledge base, or `auto`: all
            where these are at most 50,000.
        template: entity text for the encoder.
        dtype: of the vectors.
        read: how tables and shards are read; labels say that themselves.
        progress: receives each source.

    Raises:
        UsageError: an input matches nothing, the encoder has no joint space, or `out` was built with another `dtype` or
            `template`.
        OpenMofiError: an input cannot be read; `out` was built with another encoder, or another process writes it.
    """
    place = place_of(out)
    check_template(template)
    if not encoder.has_joint_space:
        raise UsageError(
            f"The encoder {encoder.spec!r} has no joint space: images cannot be compared by it.",
            "Choose an encoder with one.",
        )
    progress = progress or Quiet()
    sources = sources_of(inputs, read)
    if isinstance(place, Path):
        require_local(place)
        make_folder(place / FOLDER)
    new = {
        "encoder": encoder.spec,
        "fingerprint": encoder.fingerprint,
        "dim": str(encoder.dim),
        "dtype": dtype,
        "template": template,
    }
    with only_writer(place, new) as connection:
        require_encoder(place, meta(connection), encoder)
        _require_same(place, meta(connection), new)
        remove_unnamed(connection, connection.vectors())
        writer = Writer(connection, encoder, meta(connection)["dtype"], progress)
        folders = list({source.labels.path: source.labels for source in sources if source.labels}.values())
        note_labels(connection, folders, taken_in=False)
        progress.begin("index", len(sources))
        for source in sources:
            writer.add(source)
        keep_entities(connection, encoder, folders, kb, entities)
        note_labels(connection, folders, taken_in=True)
        settle(connection, encoder)
        return writer.changes


def _require_same(place: Place, built: Mapping[str, str], asked: Mapping[str, str]) -> None:
    for name in ("dtype", "template"):
        if built[name] != asked[name]:
            raise UsageError(
                f"{place} was built with {name} {built[name]!r}, not with {asked[name]!r}.",
                f"Give --{name} {shlex.quote(built[name])}, or build another index.",
            )


def settle(connection: Connection, encoder: Encoder) -> None:
    """Fit the probabilities of results to what the labels say now, and make the cache of vectors; nothing where nothing
    has changed.
    """
    values = meta(connection)
    done = values.get("ending_commit") == str(last_commit(connection)) and Ending.of_json(values["ending"]) is not None
    state = State.read(connection, hold=not done)
    refresh_cache(connection, state.segments, state.exact, state.entities)
    if done:
        return
    ending = fit_ending(state, connection, encoder).to_json()
    with transaction(connection):
        note_commit(connection, "calibrate", Changes())
        set_meta(connection, {"ending": ending, "ending_commit": str(last_commit(connection))})


def remove(index: str | Place, what: Sequence[str]) -> Changes:
    """Remove images from an index; the images themselves stay.

    Args:
        index: its folder, or its address in PostgreSQL.
        what: each a source's path, a folder or file of images, or `SHARD/KEY`.

    Raises:
        UsageError: one of them matches nothing.
        OpenMofiError: another process writes the index.
    """
    with only_writer(place_of(index)) as connection:
        removed = 0
        for each in what:
            with transaction(connection):
                images = _matching(connection, each)
                if not images:
                    raise UsageError(
                        f"{each} matches nothing in {connection.place}.",
                        "Give a source (openmofi index info lists them), an image's path, or SHARD/KEY.",
                    )
                drop_images(connection, images)
                connection.execute(
                    "DELETE FROM sources WHERE id NOT IN (SELECT source FROM images) AND path = ?", (each,)
                )
                # What was removed comes back only when its source is added again.
                connection.execute("UPDATE sources SET stamp = ''")
                removed += len(images)
                note_commit(connection, "remove", Changes(removed=len(images)))
        return Changes(removed=removed)


def _matching(connection: Connection, what: str) -> list[int]:
    file = os.fsencode(what.rstrip("/"))
    shard, _, key = what.partition("/")
    rows = connection.execute(
        "SELECT images.id FROM images JOIN sources ON sources.id = images.source WHERE sources.path = :path "
        "OR images.file = :file OR (images.file >= :first AND images.file < :last) "
        "OR (sources.shard = :shard AND images.key = :key)",
        {"path": what, "file": file, "first": file + b"/", "last": file + b"0", "shard": shard, "key": key},
    )
    return [image for (image,) in rows]

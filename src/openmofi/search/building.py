"""Build an index, or add to it; killed at any moment, the last commit stands."""

import logging
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from threadpoolctl import threadpool_limits

from openmofi.arrays import Array
from openmofi.dataset.tables import Folder, describe, labels_kb
from openmofi.encoders import Encoder
from openmofi.encoders.companions import Companions
from openmofi.engine import LocalEngine, Progress, Quiet
from openmofi.errors import UsageError
from openmofi.features.entities import embed_entities
from openmofi.features.entity_table import EntityEmbeddings
from openmofi.features.store import FeatureStore
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.candidates import keys_of
from openmofi.knowledge.texts import DEFAULT_TEMPLATE, check_template
from openmofi.pairs import ReadSettings
from openmofi.pairs.problems import MOST_PROBLEMS, REASONS, write_problems
from openmofi.schema import PairStatus
from openmofi.search.incoming import sources_of
from openmofi.search.rank.calibration import Ending
from openmofi.search.rank.fitting import fit_ending
from openmofi.search.rank.state import State, refresh_cache
from openmofi.search.records import Changes
from openmofi.search.store.connection import Connection, Place, place_of
from openmofi.search.store.database import (
    column_of,
    last_commit,
    marks,
    meta,
    note_commit,
    only_writer,
    require_encoder,
    set_meta,
    transaction,
)
from openmofi.search.store.vectors import CACHE, FOLDER, remove_unnamed
from openmofi.search.verdicts import note_labels
from openmofi.search.writer import Writer
from openmofi.storage import fingerprint, make_folder, require_local

_log = logging.getLogger(__name__)
_ALL = 50_000
_ASKED, _NEAR = 400, 4
_UNUSABLE = "SELECT key, path, status FROM images, sources WHERE sources.id = source AND status <> ? ORDER BY images.id"


def keep_entities(
    connection: Connection,
    encoder: Encoder,
    labels: Sequence[Folder],
    kb: KnowledgeBase | None,
    which: Literal["auto", "judged", "all"],
    progress: Progress,
) -> None:
    """Keep what is known of the entities that the labels judge, or of all; nothing where it is as it was."""
    kb = kb or next((base for base in map(labels_kb, labels) if base), None)
    judged = set(column_of(connection, "SELECT DISTINCT entity FROM labels"))
    whole = kb is not None and (which == "all" or (which == "auto" and len(kb) <= _ALL))
    ids = sorted(judged | (set() if kb is None else set(kb) if whole else _siblings(kb, judged)))
    related = kb is not None and kb.beside.relations is not None
    key = fingerprint([ids, kb.fingerprint if kb else "", related, encoder.fingerprint])
    if not ids and kb is not None:
        _log.warning(
            "no label names an entity, and the knowledge base has %s, more than the %s that an index takes of "
            "itself: it knows none now. Give a slice of the base (openmofi kb sample), or --entities all.",
            f"{len(kb):,}",
            f"{_ALL:,}",
        )
    if not ids or meta(connection).get("entities") == key:
        return
    described = list(enumerate(zip(ids, describe(ids, kb, {}), strict=True)))  # an id may have been merged into another
    aliases = _aliases(kb, ids) if kb else {}
    in_kb = [] if kb is None else [entity for entity in ids if entity in kb]
    vectors = _vectors(connection.place, encoder, labels, kb, ids, in_kb, meta(connection)["template"], progress)
    file = connection.vectors().write(vectors, "float16", entities=True)
    names = [(number, each.name, " \n ".join(aliases.get(entity, []))) for number, (entity, each) in described]
    rows_of: Mapping[str, Sequence[tuple[object, ...]]] = {
        "entities": [
            (entity, number, each.name, each.description, each.popularity) for number, (entity, each) in described
        ],
        "aliases": [(entity, alias) for entity in ids for alias in aliases.get(entity, [])],
        "types": [(entity, kind) for _, (entity, each) in described for kind in dict.fromkeys(each.types)],
        "supertypes": [(entity, above) for entity in in_kb if kb for above in kb.ancestors(entity)],
    }
    with transaction(connection):
        for table, values in rows_of.items():
            connection.execute(f"DELETE FROM {table}")
            if values:
                connection.executemany(f"INSERT INTO {table} VALUES ({marks(values[0])})", values)
        connection.keep_names(names)
        set_meta(
            connection,
            {
                "entities": key,
                "entity_vectors": file[0],
                "entity_vectors_digest": file[2],
                "kb": str(kb.address) if kb else "",
                "kb_fingerprint": kb.fingerprint if kb else "",
            },
        )
        note_commit(connection, "entities", Changes())


def _siblings(kb: KnowledgeBase, judged: set[str]) -> set[str]:
    """Neighbours in the graph that no text names, of some of those that are: what the index tests itself by."""
    in_kb = sorted(entity for entity in judged if entity in kb)
    chosen = np.random.default_rng(0).permutation(len(in_kb))[:_ASKED]
    near = (neighbour.entity.id for position in chosen.tolist() for neighbour in kb.neighbours(in_kb[position], _NEAR))
    return {entity for entity in near if entity not in judged}


def _vectors(
    address: Place,
    encoder: Encoder,
    labels: Sequence[Folder],
    kb: KnowledgeBase | None,
    ids: Sequence[str],
    in_kb: Sequence[str],
    template: str,
    progress: Progress,
) -> Array:
    """(len(ids), dim) of the entities' texts and images; none where the encoder has no texts. What the label job
    embedded is taken from its cache.
    """
    if not encoder.has_texts:
        return np.zeros((0, encoder.dim), np.float32)
    if kb is None:
        return encoder.embed_texts(ids)
    noted = FeatureStore.noted(labels[0].path, encoder) if labels else None
    with TemporaryDirectory() as folder:  # where neither the label job nor a folder of the index keeps them
        cache = noted.cache if noted else address / CACHE if isinstance(address, Path) else Path(folder)
        features = embed_entities(kb, encoder, in_kb, template, cache, LocalEngine(), progress, images=True)
    projected = encoder.project_texts(features.features)
    by_text = replace(encoder, companions=Companions())  # what it has learned of entities is not in an index
    if references := EntityEmbeddings(by_text, features).references:
        projected = references.applied(np.arange(len(in_kb)), projected)
    of_known = dict(zip(in_kb, projected, strict=True))
    unknown = [entity for entity in ids if entity not in of_known]
    of_known |= dict(zip(unknown, encoder.embed_texts(unknown), strict=True))
    return np.stack([of_known[entity] for entity in ids])


def _aliases(kb: KnowledgeBase, ids: Sequence[str]) -> dict[str, list[str]]:
    """Entity → its look-up names, of one pass over all."""
    table = kb.table
    rows = kb.rows(ids)
    wanted = np.zeros(len(kb), bool)
    wanted[rows[rows >= 0]] = True
    positions = np.flatnonzero(wanted[table.rows])
    names: dict[str, list[str]] = defaultdict(list)
    for key, row in zip(keys_of(table, positions).tolist(), table.rows[positions].tolist(), strict=True):
        names[kb.ids([row])[0]].append(table.names.restore_key(key))
    return {entity: sorted(keys) for entity, keys in names.items()}


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
        progress: receives each source, and parts of the entities that are embedded.

    Raises:
        UsageError: an input matches nothing, the encoder has no joint space, or `out` was built with another `dtype` or
            `template`.
        OpenMofiError: an input cannot be read; `out` was built with another encoder, or another process writes it.
    """
    address = place_of(out)
    check_template(template)
    if not encoder.has_joint_space:
        raise UsageError(
            f"The encoder {encoder.spec!r} has no joint space: images cannot be compared by it.",
            "Choose an encoder with one.",
        )
    progress = progress or Quiet()
    sources = sources_of(inputs, read)
    if isinstance(address, Path):
        require_local(address)
        make_folder(address / FOLDER)
    new = {
        "encoder": encoder.spec,
        "fingerprint": encoder.fingerprint,
        "dim": str(encoder.dim),
        "dtype": dtype,
        "template": template,
    }
    with only_writer(address, new) as connection:
        require_encoder(address, meta(connection), encoder)
        _require_same(address, meta(connection), new)
        remove_unnamed(connection, connection.vectors())
        writer = Writer(connection, encoder, meta(connection)["dtype"], progress)
        folders = list({source.labels.path: source.labels for source in sources if source.labels}.values())
        note_labels(connection, folders, taken_in=False)
        progress.begin("index", len(sources))
        for source in sources:
            writer.add(source)
        keep_entities(connection, encoder, folders, kb, entities, progress)
        note_labels(connection, folders, taken_in=True)
        settle(connection, encoder, progress)
        note_problems(connection)
        return writer.changes


def note_problems(connection: Connection) -> None:
    """Write `problems.csv` of the images that cannot be used, where the index is a folder."""
    if isinstance(connection.place, Path):
        unusable = connection.execute(f"{_UNUSABLE} LIMIT {MOST_PROBLEMS}", (str(PairStatus.OK),)).fetchall()
        write_problems(str(connection.place), [("", *row, REASONS[row[-1]]) for row in unusable])


def _require_same(address: Place, built: Mapping[str, str], given: Mapping[str, str]) -> None:
    for name in ("dtype", "template"):
        if built[name] != given[name]:
            raise UsageError(
                f"{address} was built with {name} {built[name]!r}, not with {given[name]!r}.",
                f"Give --{name} {shlex.quote(built[name])}, or build another index.",
            )


def settle(connection: Connection, encoder: Encoder, progress: Progress) -> None:
    """Fit the probabilities of results to what the labels say now, and make the cache of vectors; nothing where nothing
    has changed.
    """
    values = meta(connection)
    done = values.get("ending_commit") == str(last_commit(connection)) and Ending.of_json(values["ending"]) is not None
    state = State.read(connection, hold=not done)
    refresh_cache(connection, state.segments, state.exact, state.entities)
    if done:
        return
    # Thousands of small products, between which threads of BLAS would wait for each other.
    with threadpool_limits(1, user_api="blas"):
        ending = fit_ending(state, connection, encoder, progress=progress).to_json()
    with transaction(connection):
        note_commit(connection, "calibrate", Changes())
        set_meta(connection, {"ending": ending, "ending_commit": str(last_commit(connection))})

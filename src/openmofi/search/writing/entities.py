"""Entities of an index: names, aliases, types and subtypes, searchable by keywords, and the vectors of their texts."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from openmofi.dataset.audit.entities import labels_kb
from openmofi.dataset.tables import Folder
from openmofi.encoders import Array, Encoder
from openmofi.engine import LocalEngine, Quiet
from openmofi.features.entities import embed_entities
from openmofi.features.store import FeatureStore
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.lookup import keys_of
from openmofi.search.records import Changes
from openmofi.search.store.address import Place
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import marks, meta, note_commit, set_meta, transaction
from openmofi.search.store.segments import CACHE
from openmofi.search.store.vector_table import vectors_in
from openmofi.storage import fingerprint

_log = logging.getLogger(__name__)
_ALL = 50_000
_ASKED, _NEAR = 400, 4


def keep_entities(
    connection: Connection,
    encoder: Encoder,
    labels: Sequence[Folder],
    kb: KnowledgeBase | None,
    which: Literal["auto", "judged", "all"],
) -> None:
    """Keep what is known of the entities that the labels judge, or of all; nothing where it is as it was."""
    kb = kb or next((found for found in map(labels_kb, labels) if found), None)
    judged = {entity for (entity,) in connection.execute("SELECT DISTINCT entity FROM labels")}
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
    rows = [] if kb is None else kb.rows(ids).tolist()
    known = {entity: kb.entity(row) for entity, row in zip(ids, rows, strict=False) if kb is not None and row >= 0}
    aliases = _aliases(kb, ids) if kb else {}
    template = meta(connection)["template"]
    vectors = _vectors(connection.place, encoder, labels, kb, ids, set(known), template)
    file = vectors_in(connection).write(vectors, "float16", entities=True)
    records = [(number, entity, known.get(entity)) for number, entity in enumerate(ids)]
    names = [
        (number, each.name if each else entity, " \n ".join(aliases.get(entity, [])))
        for number, entity, each in records
    ]
    rows_of: Mapping[str, Sequence[tuple[object, ...]]] = {
        "entities": [
            (
                entity,
                number,
                each.name if each else entity,
                each.description if each else "",
                each.popularity if each else 0.0,
            )
            for number, entity, each in records
        ],
        "aliases": [(entity, alias) for entity in ids for alias in aliases.get(entity, [])],
        "types": [(entity, kind) for _, entity, each in records for kind in dict.fromkeys(each.types if each else ())],
        "supertypes": [(entity, above) for _, entity, each in records if kb and each for above in kb.ancestors(entity)],
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
    known = sorted(entity for entity in judged if entity in kb)
    chosen = np.random.default_rng(0).permutation(len(known))[:_ASKED]
    near = (neighbour.entity.id for place in chosen.tolist() for neighbour in kb.neighbours(known[place], _NEAR))
    return {entity for entity in near if entity not in judged}


def _vectors(
    place: Place,
    encoder: Encoder,
    labels: Sequence[Folder],
    kb: KnowledgeBase | None,
    ids: Sequence[str],
    known: set[str],
    template: str,
) -> Array:
    """(len(ids), dim) of the entities' texts; none where the encoder has no texts. What the label job embedded is taken
    from its cache.
    """
    if not encoder.has_texts:
        return np.zeros((0, encoder.dim), np.float32)
    if kb is None:
        return encoder.embed_texts(ids)
    noted = FeatureStore.noted(labels[0].path, encoder) if labels else None
    with TemporaryDirectory() as folder:  # where neither the label job nor a folder of the index keeps them
        cache = noted.cache if noted else place / CACHE if isinstance(place, Path) else Path(folder)
        features = embed_entities(kb, encoder, sorted(known), template, cache, LocalEngine(), Quiet())
    of_known = dict(zip(sorted(known), encoder.project_texts(features.features), strict=True))
    unknown = [entity for entity in ids if entity not in known]
    of_known |= dict(zip(unknown, encoder.embed_texts(unknown), strict=True))
    return np.stack([of_known[entity] for entity in ids])


def _aliases(kb: KnowledgeBase, ids: Sequence[str]) -> dict[str, list[str]]:
    """Entity → its look-up names, of one pass over all."""
    table = kb.table
    rows = kb.rows(ids)
    wanted = np.zeros(len(kb), bool)
    wanted[rows[rows >= 0]] = True
    places = np.flatnonzero(wanted[table.rows])
    names: dict[str, list[str]] = defaultdict(list)
    for key, row in zip(keys_of(table, places).tolist(), table.rows[places].tolist(), strict=True):
        names[kb.ids([row])[0]].append(table.names.restore_key(key))
    return {entity: sorted(keys) for entity, keys in names.items()}

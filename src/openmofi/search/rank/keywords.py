"""Keyword search with SQLite FTS5 over texts and names of entities; queries are words, never syntax."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence

from openmofi.errors import UnknownEntityError
from openmofi.knowledge.lookup import spelt_alike
from openmofi.search.store.reading import entity_records

_WORD = re.compile(r"\w+", re.UNICODE)
_MOST_WORDS = 32
_MOST_LENGTH = 64
_NEAR, _COMPARED = 3, 500


def words_of(text: str) -> list[str]:
    """The words of a query, at most 32; what FTS5 would read as syntax is not among them."""
    return [word[:_MOST_LENGTH] for word in _WORD.findall(text)[:_MOST_WORDS]]


def match_of(words: Sequence[str], operator: str, *, prefix: bool = False) -> str:
    """An FTS5 expression of quoted words; with `prefix` the last one may go on."""
    quoted = [f'"{word}"' for word in words]
    if prefix and quoted:
        quoted[-1] += "*"
    return f" {operator} ".join(quoted)


def images_by_text(connection: sqlite3.Connection, text: str, limit: int, *, every: bool = False) -> list[int]:
    """Ids of images whose texts have words of `text`, best by BM25 first: those that have all before the others; with
    `every` only those.
    """
    if not (words := words_of(text)):
        return []
    found: dict[int, None] = {}
    for operator in ("AND", "OR") if len(words) > 1 and not every else ("AND",):
        rows = connection.execute("SELECT rowid FROM texts_fts WHERE texts_fts MATCH ? ORDER BY rank, rowid LIMIT ?",
                                  (match_of(words, operator), limit))
        found.update(dict.fromkeys(image for image, in rows))
    return list(found)[:limit]


def entities_by_name(connection: sqlite3.Connection, text: str, limit: int, *, prefix: bool = False) -> list[str]:
    """Ids of entities whose name or an alias has all words of `text`: those of that very name first, then by how many
    images are labelled with them and how popular they are.
    """
    if not (words := words_of(text)):
        return []
    rows = connection.execute(
        "SELECT entities.id, bm25(names_fts, 4.0, 1.0) AS score, "
        "(SELECT count(*) FROM labels WHERE labels.entity = entities.id AND accepted) AS images "
        "FROM names_fts JOIN entities ON entities.number = names_fts.rowid WHERE names_fts MATCH ? "
        "ORDER BY lower(entities.name) != lower(?), images DESC, popularity DESC, score, entities.id LIMIT ?",
        (match_of(words, "AND", prefix=prefix), text.strip(), limit))
    return [entity for entity, *_ in rows]


def unknown_entity(connection: sqlite3.Connection, given: str) -> UnknownEntityError:
    """The error for an identifier or name that the index does not know; it names those that are spelt alike."""
    key, found = given.casefold()[:_MOST_LENGTH], dict[str, str]()

    def names(beginning: str) -> Iterator[str]:
        begun = entities_by_name(connection, beginning, _COMPARED, prefix=True)
        for record in entity_records(connection, begun).values():
            for name in (record.name, *record.aliases):
                found.setdefault(name.casefold(), f"{name} ({record.id})")
                yield name.casefold()

    def identifiers(beginning: str) -> Iterator[str]:
        for entity, name in connection.execute("SELECT id, name FROM entities WHERE id >= ? AND id < ?",
                                               (beginning, f"{beginning}\U0010ffff")):
            found[entity] = f"{name} ({entity})"
            yield entity

    near = spelt_alike(names, key, _NEAR) or spelt_alike(identifiers, given[:_MOST_LENGTH], _NEAR)
    said = ", ".join(dict.fromkeys(found[each] for each in near))
    return UnknownEntityError(f"The index knows no entity {given!r}.",
                              f"Did you mean {said}?" if said else "Search by text instead.")

"""Keyword search with SQLite FTS5 over texts and names of entities; queries are words, never syntax."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence

from openmofi.errors import UnknownEntityError
from openmofi.knowledge.lookup import spelt_alike

_WORD = re.compile(r"\w+", re.UNICODE)
_MOST_WORDS = 32
_MOST_LENGTH = 64
_NEAR = 3
_NAMES = """
    WITH begun AS (SELECT rowid AS number FROM names_fts WHERE names_fts MATCH :match)
    SELECT id, name FROM begun JOIN entities USING (number)
    UNION ALL SELECT id, aliases.name FROM begun JOIN entities USING (number) JOIN aliases ON aliases.entity = id"""


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
    key, found = given.casefold()[:_MOST_LENGTH], dict[str, tuple[str, str]]()

    def names(beginning: str) -> Iterator[str]:
        if words := words_of(beginning):
            for entity, name in connection.execute(_NAMES, {"match": match_of(words, "AND", prefix=True)}):
                found.setdefault(name.casefold(), (name, entity))
                yield name.casefold()

    def identifiers(beginning: str) -> Iterator[str]:
        rows = connection.execute("SELECT id, name FROM entities WHERE id >= ?1 AND id < ?1 || char(1114111)",
                                  (beginning,))
        for entity, name in rows:
            found[entity] = (name, entity)
            yield entity

    near = spelt_alike(names, key, _NEAR) or spelt_alike(identifiers, given[:_MOST_LENGTH], _NEAR)
    said = ", ".join(f"{name} ({entity})" for name, entity in dict.fromkeys(found[each] for each in near))
    return UnknownEntityError(f"The index knows no entity {given!r}.",
                              f"Did you mean {said}?" if said else "Search by text instead.")

"""Keyword search over texts and names of entities: FTS5 of SQLite, tsvector of PostgreSQL; queries are no syntax."""

from __future__ import annotations

import re
from collections.abc import Iterator

from openmofi.errors import UnknownEntityError
from openmofi.knowledge.lookup import spelt_alike
from openmofi.search.store.connection import Connection
from openmofi.search.store.reading import entity_records

_WORD = re.compile(r"\w+", re.UNICODE)
_MOST_WORDS = 32
_MOST_LENGTH = 64
_NEAR, _COMPARED = 3, 500


def words_of(text: str) -> list[str]:
    """The words of a query, at most 32; what would be read as syntax is not among them."""
    return [word[:_MOST_LENGTH] for word in _WORD.findall(text)[:_MOST_WORDS]]


def images_by_text(connection: Connection, text: str, limit: int, *, every: bool = False) -> list[int]:
    """Ids of images whose texts have words of `text`, best first: those that have all before the others; with `every`
    only those.
    """
    if not (words := words_of(text)):
        return []
    found: dict[int, None] = {}
    for operator in ("AND", "OR") if len(words) > 1 and not every else ("AND",):
        found.update(dict.fromkeys(connection.texts_with(words, operator, limit)))
    return list(found)[:limit]


def entities_by_name(connection: Connection, text: str, limit: int, *, prefix: bool = False) -> list[str]:
    """Ids of entities whose name or an alias has all words of `text`: those of that very name first, with `prefix`
    those whose own name begins so next, then by how many images are labelled with them and how popular they are.
    """
    if not (words := words_of(text)):
        return []
    return connection.entities_named(words, prefix, text.strip(), limit)


def unknown_entity(connection: Connection, given: str) -> UnknownEntityError:
    """The error for an identifier or name that the index does not know; it names those that are spelt alike."""
    key, found = given.casefold()[:_MOST_LENGTH], dict[str, str]()

    def names(beginning: str) -> Iterator[str]:
        begun = entities_by_name(connection, beginning, _COMPARED, prefix=True)
        records = entity_records(connection, begun)
        for record in (records[entity] for entity in begun):
            for name in (record.name, *record.aliases):
                found.setdefault(name.casefold(), f"{name} ({record.id})")
                yield name.casefold()

    def identifiers(beginning: str) -> Iterator[str]:
        for entity, name in connection.execute(
            "SELECT id, name FROM entities WHERE id >= ? AND id < ?", (beginning, f"{beginning}\U0010ffff")
        ):
            found[entity] = f"{name} ({entity})"
            yield entity

    near = spelt_alike(names, key, _NEAR) or spelt_alike(identifiers, given[:_MOST_LENGTH], _NEAR)
    said = ", ".join(dict.fromkeys(found[each] for each in near))
    return UnknownEntityError(
        f"The index knows no entity {given!r}.", f"Did you mean {said}?" if said else "Search by text instead."
    )

"""Keyword search over texts and names of entities: FTS5 of SQLite, tsvector of PostgreSQL; queries are no syntax."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from openmofi.errors import UnknownEntityError
from openmofi.knowledge.candidates import spelt_alike
from openmofi.knowledge.names import normalise
from openmofi.search.store.connection import Connection
from openmofi.search.store.reading import JUDGED, entity_records

# A text that is the name of entities means one of them, each as likely as another, and of the images that the label job
# judged for these the probability is known. Any other text is looked for in the images' own texts. So a result of a
# text has two features more than one of an image, see `NAMES`: whether the text is a name that the index knows, so that
# the image, which was not judged for it, is not named so; and whether, where it is no name, the image's text has all
# words.

NAMES = ("meant", "words")


@dataclass(frozen=True)
class Meaning:
    """What a text means to an index.

    Attributes:
        known: whether it is a name of entities.
        judged: image → probability that it shows what is meant, of images that were judged for such an entity.
        words: images whose texts have all words; none where the name is known.
    """

    known: bool = False
    judged: Mapping[int, float] = field(default_factory=dict)
    words: Collection[int] = frozenset()

    def features(self, images: Sequence[int]) -> NDArray[np.float64]:
        """(n, 2) of results; see `NAMES`."""
        words = np.array([image in self.words for image in images], np.float64)
        return np.stack([np.full(len(images), float(self.known)), words], axis=1)


def entities_named(connection: Connection, text: str) -> list[str]:
    """Identifiers of the entities that have this name or alias, however it is spelt (`openmofi.knowledge.names`)."""
    key = normalise(text)
    if not (words := words_of(key)):
        return []
    return [entity for entity, name, alias in connection.names_with(words, key) if alias or normalise(name) == key]


def judged_for(connection: Connection, entities: Sequence[str]) -> dict[int, float]:
    """Image → probability that it shows what is meant, one of these as likely as another; verdicts are certain."""
    shown: dict[int, float] = {}
    for entity in entities:
        for image, probability in connection.execute(JUDGED, {"entity": entity}):
            shown[image] = shown.get(image, 0.0) + probability / len(entities)
    return shown


def meaning_of(connection: Connection, text: str, keywords: Sequence[int]) -> Meaning:
    """What a text means.

    Args:
        connection: to the index.
        text: of the query.
        keywords: ids of images whose texts have all of its words.
    """
    entities = entities_named(connection, text)
    return Meaning(True, judged_for(connection, entities)) if entities else Meaning(words=frozenset(keywords))


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

"""The meaning of a query: as a vector in the encoder's space, as words, and as names of entities."""

import re
import unicodedata
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
from PIL import Image

from openmofi.arrays import Array, Doubles
from openmofi.encoders import Encoder, normalised
from openmofi.encoders.preprocess import as_image
from openmofi.errors import OpenMofiError, UnknownEntityError
from openmofi.features.store import content_digits
from openmofi.knowledge.candidates import spelt_alike
from openmofi.knowledge.names import normalise
from openmofi.mentions.patterns import FUNCTION_WORDS
from openmofi.search.query import Example, Query, Region
from openmofi.search.rank.calibration import any_of
from openmofi.search.rank.state import LRUCache, State
from openmofi.search.store.connection import Connection
from openmofi.search.store.reading import JUDGED, entity_records, image_bytes

# A text that names entities with images asks for one of them (`as_entity`). A result of any other has two features more
# than one of an image: whether the text is a name that the index knows, so that the image, which was not judged for it,
# is not named so; and whether, where it is no name, the image's text has all words.


@dataclass(frozen=True)
class Meaning:
    """What a text means to an index.

    Attributes:
        entities: identifiers of those that it is a name of.
        judged: image → probability that it shows what is meant, of images that were judged for such an entity.
        words: images whose texts have all words; none where the name is known.
    """

    entities: tuple[str, ...] = ()
    judged: Mapping[int, float] = field(default_factory=dict)
    words: Collection[int] = frozenset()

    def features(self, images: Sequence[int]) -> Doubles:
        """(n, 2) of results: whether the text is a name, and whether the image's text has all words."""
        words = np.array([image in self.words for image in images], np.float64)
        return np.stack([np.full(len(images), float(bool(self.entities))), words], axis=1)


def entities_named(connection: Connection, text: str) -> list[str]:
    """Identifiers of the entities that have this name or alias, however it is spelt (`openmofi.knowledge.names`)."""
    key = normalise(text)
    if not (words := words_of(key)):
        return []

    def unaccented(name: str) -> str:
        return re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFD", name))

    named = connection.names_with(words, key)
    return [entity for entity, name, alias in named if alias or unaccented(normalise(name)) == unaccented(key)]


_BEFORE_NAMES = frozenset(["a", "an", "the", "some", "of", "photo", "photograph", "picture", "pic", "image"])
_MOST_BEFORE, _LONGEST_NAME = 4, 16  # words; a text that is longer is no name
_SHOWN = """SELECT count(*) FROM (SELECT DISTINCT image FROM labels
    WHERE accepted = 1 AND (entity = :entity OR entity IN (SELECT entity FROM supertypes WHERE above = :entity))
    LIMIT 1000) AS shown"""


def as_entity(state: State, connection: Connection, query: Query) -> tuple[Query, list[str]]:
    """A query for a text as one for the entity that it names, see `Query.named`; and all that it names: those that are
    shown first, of these those of that very name, then by images, of which a thousand count. "A photo of" before a
    name is passed over.
    """
    if not (query.text and query.named and query.keywords and len(state.entities)) or query.examples or query.entity:
        return query, []
    if isinstance(known := state.listings.get(("senses", query.text)), tuple):
        shown, senses = known
    else:
        shown, senses = _senses(connection, query.text)
        state.listings.put(("senses", query.text), (shown, senses))
    return (replace(query, text="", entity=senses[0]) if shown else query), senses


def _senses(connection: Connection, text: str) -> tuple[bool, list[str]]:
    """Whether any entity that a text names is shown, and all of them in the order of `as_entity`."""
    words, named = normalise(text).split(), list[str]()
    if len(words) > _LONGEST_NAME:
        return False, []
    for _ in range(_MOST_BEFORE + 1):
        if (named := entities_named(connection, " ".join(words))) or not words or words[0] not in _BEFORE_NAMES:
            break
        words = words[1:]
    shown = {entity: connection.execute(_SHOWN, {"entity": entity}).fetchone()[0] for entity in named}
    records = entity_records(connection, named)
    own = {entity for entity in named if normalise(records[entity].name) == " ".join(words)}
    senses = sorted(named, key=lambda e: (not shown[e], e not in own, -shown[e], -records[e].popularity, e))
    return any(shown.values()), senses


def judged_for(connection: Connection, entities: Sequence[str]) -> dict[int, float]:
    """Image → probability that it shows what is meant, one of these as likely as another; verdicts are certain. Of an
    entity and what is below it any may be shown (`any_of`).
    """
    probabilities: dict[int, float] = {}
    for entity in entities:
        for image, rows in groupby(connection.execute(JUDGED, {"entity": entity}), key=itemgetter(0)):
            shown = any_of([probability for _, probability in rows])
            probabilities[image] = probabilities.get(image, 0.0) + shown / len(entities)
    return probabilities


def meaning_of(connection: Connection, text: str, keywords: Sequence[int]) -> Meaning:
    """What a text means.

    Args:
        connection: to the index.
        text: of the query.
        keywords: ids of images whose texts have all of its words.
    """
    if entities := tuple(entities_named(connection, text)):
        return Meaning(entities, judged_for(connection, entities))
    return Meaning(words=frozenset(keywords))


_WORD = re.compile(r"\w+", re.UNICODE)
_MOST_WORDS = 32
_MOST_LENGTH = 64
_NEAR, _COMPARED, _ALIKE = 3, 500, 0.75


def words_of(text: str) -> list[str]:
    """The words of a query, at most 32; what would be read as syntax is not among them."""
    return [word[:_MOST_LENGTH] for word in _WORD.findall(text)[:_MOST_WORDS]]


def images_by_text(connection: Connection, text: str, limit: int, *, every: bool = False) -> list[int]:
    """Ids of images whose texts have words of `text`, best first: those that have all before the others; with `every`
    only those. Function words count where there are no others.
    """
    if not (words := words_of(text)):
        return []
    words = [word for word in words if normalise(word) not in FUNCTION_WORDS] or words
    images: dict[int, None] = {}
    for operator in ("AND", "OR") if len(words) > 1 and not every else ("AND",):
        images.update(dict.fromkeys(connection.texts_with(words, operator, limit)))
    return list(images)[:limit]


def entities_by_name(connection: Connection, text: str, limit: int, *, prefix: bool = False) -> list[str]:
    """Ids of entities whose name or an alias has all words of `text`; see `Connection.entities_named`."""
    if not (words := words_of(text)):
        return []
    return connection.entities_named(words, prefix, text.strip(), limit)


def named_alike(connection: Connection, given: str, limit: int) -> list[tuple[str, str]]:
    """Names that are spelt like `given` and begin as it does, most alike first, each with an entity that has it."""
    found = dict[str, tuple[str, str]]()

    def names(beginning: str) -> Iterator[str]:
        begun = entities_by_name(connection, beginning, _COMPARED, prefix=True)
        records = entity_records(connection, begun)
        for record in (records[entity] for entity in begun):
            for name in (record.name, *record.aliases):
                found.setdefault(name.casefold(), (name, record.id))
                yield name.casefold()

    return [found[name] for name in spelt_alike(names, given.casefold()[:_MOST_LENGTH], limit, _ALIKE)]


def unknown_entity(connection: Connection, given: str) -> UnknownEntityError:
    """The error for an identifier or name that the index does not know; it names those that are spelt alike."""
    found = dict[str, str]()

    def identifiers(beginning: str) -> Iterator[str]:
        for entity, name in connection.execute(
            "SELECT id, name FROM entities WHERE id >= ? AND id < ?", (beginning, f"{beginning}\U0010ffff")
        ):
            found[entity] = name
            yield entity

    near = named_alike(connection, given, _NEAR)
    near = near or [(found[entity], entity) for entity in spelt_alike(identifiers, given[:_MOST_LENGTH], _NEAR)]
    said = ", ".join(dict.fromkeys(f"{name} ({entity})" for name, entity in near))
    return UnknownEntityError(
        f"The index knows no entity {given!r}.", f"Did you mean {said}?" if said else "Search by text instead."
    )


_RIDGE = 0.1


def vectors_of(
    state: State,
    connection: Connection,
    queries: Sequence[Query],
    encoder: Callable[[], Encoder],
    cache: LRUCache[Array],
) -> list[Array | None]:
    """See `Index.vectors_of`; `cache` holds embeddings of the encoder."""
    examples = [example for query in queries for example in query.examples]
    images = iter(image_vectors(state, connection, examples, encoder, cache))
    texts = [query.text for query in queries if query.text]
    embedded = iter(text_vectors(texts, encoder, cache) if texts and encoder().has_texts else [])
    vectors: list[Array | None] = []
    for query in queries:
        parts = [example.weight * next(images) for example in query.examples]
        if query.text and (vector := next(embedded, None)) is not None:
            parts.append(vector)
        if query.entity:
            parts.append(entity_vector(state, connection, query.entity))
        if query.like:
            parts.append(marked_vector(state, query))
        vectors.append(normalised(sum(parts[1:], parts[0])[None])[0] if parts else None)
    return vectors


def text_vectors(texts: Sequence[str], encoder: Callable[[], Encoder], cache: LRUCache[Array]) -> list[Array]:
    """(dim,) vector of each text; what was embedded before is not embedded again."""
    vectors = {text: vector for text in texts if (vector := cache.get(text)) is not None}
    if missing := [text for text in dict.fromkeys(texts) if text not in vectors]:
        for text, vector in zip(missing, encoder().embed_texts(missing), strict=True):
            vectors[text] = cache.put(text, vector)
    return [vectors[text] for text in texts]


def image_vectors(
    state: State,
    connection: Connection,
    examples: Sequence[Example],
    encoder: Callable[[], Encoder],
    cache: LRUCache[Array],
) -> Array:
    """(n, dim) L2-normalised; a whole image of the index, and what was embedded before, is not embedded again."""
    vectors = np.zeros((len(examples), int(state.meta["dim"])), np.float32)
    waiting: list[tuple[int, Hashable, Image.Image]] = []
    for row, example in enumerate(examples):
        image, key = example.image, _key(example)
        position = -1
        if isinstance(image, int) and example.region is None:
            position = int(state.positions(np.array([image]))[0])
        if position >= 0:
            vectors[row] = state.exact.rows(np.array([position]))[0]
        elif key and (before := cache.get(key)) is not None:
            vectors[row] = before
        else:
            source = image_bytes(connection, image) if isinstance(image, int) else image
            named = str(source) if isinstance(source, str | Path) else "The image of the query"
            whole = as_image(source, encoder().preprocessing, named)
            waiting.append((row, key, cropped(whole, example.region)))
    if waiting:
        embedded = encoder().embed_images([image for *_, image in waiting])
        for (row, key, _), vector in zip(waiting, embedded, strict=True):
            vectors[row] = cache.put(key, vector) if key else vector
    return vectors


def _key(example: Example) -> Hashable:
    """What an embedding belongs to; `None` for a file, which may change, and for what costs as much to compare."""
    if isinstance(example.image, bytes):
        return content_digits(example.image), example.region
    if isinstance(example.image, np.ndarray):
        return content_digits(example.image.tobytes()), example.image.shape, example.image.dtype.str, example.region
    return None


def cropped(image: Image.Image, region: Region | None) -> Image.Image:
    """The part of an upright image that is meant; at least a pixel."""
    if region is None:
        return image
    left, top = (
        min(int(part * size), size - 1) for part, size in zip((region.left, region.top), image.size, strict=True)
    )
    right, bottom = (round(part * size) for part, size in zip((region.right, region.bottom), image.size, strict=True))
    return image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


def entity_vector(state: State, connection: Connection, entity: str) -> Array:
    """(dim,) vector of an entity's text.

    Raises:
        UnknownEntityError: the index does not know it.
        OpenMofiError: the encoder has no texts.
    """
    if entity not in state.entity_numbers:
        raise unknown_entity(connection, entity)
    if not len(state.entities):
        raise OpenMofiError(
            "The index has no entity vectors, since its encoder embeds images only.", "Filter by the entity instead."
        )
    return state.entities[state.entity_numbers[entity]]


def marked_vector(state: State, query: Query) -> Array:
    """(dim,) direction that tells images that were marked right from those marked wrong: ridge regression over them."""
    marked = state.positions(np.array([*query.like, *query.unlike], np.int64))
    sign = np.array([1.0] * len(query.like) + [-1.0] * len(query.unlike), np.float32)[marked >= 0]
    vectors = state.exact.rows(marked[marked >= 0])
    if not len(vectors):
        raise OpenMofiError("None of the marked images has a vector.", "Mark others.")
    if not (sign < 0).any():
        return normalised(vectors.mean(axis=0)[None])[0]
    # In the space of the marked images: as many unknowns as marks, whatever the dimension.
    weights = np.linalg.solve(vectors @ vectors.T + _RIDGE * np.eye(len(vectors), dtype=np.float32), sign)
    return normalised((weights @ vectors).astype(np.float32)[None])[0]

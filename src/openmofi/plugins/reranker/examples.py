"""Examples that need no person: mentions by a name of one meaning, and what they would be under an ambiguous name.

"Ramphastos on a branch" can mean but one thing. Where texts of the same kind also say "toucan", which has several
meanings, "toucan on a branch" is a mention whose meaning is known: real context, real candidates, real priors. And in
the context of any such mention its entity has to be likelier than others that the texts name elsewhere.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from openmofi.config import PositiveInt, Settings
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.linking import LinkSettings
from openmofi.linking.candidates import CandidateLookup, NameCandidates
from openmofi.mentions import MentionDetector
from openmofi.plugins.fusion.examples import LinkCandidate, LinkExample
from openmofi.storage import digits64

TRAIN, HELD_OUT = "train", "validation"
_ONE_IN = 5  # entities are held out


@dataclass(frozen=True)
class SureSettings(Settings):
    """Which mentions become examples.

    Attributes:
        renamed: most mentions of an entity under an ambiguous name, so that a few entities do not decide.
        contrasted: most mentions of an entity beside other entities of the texts.
        others: how many others are drawn for each of those.
        least: fewest mentions under an ambiguous name that are enough to learn from.
    """

    renamed: PositiveInt = 20
    contrasted: PositiveInt = 6
    others: PositiveInt = 5
    least: PositiveInt = 100


@dataclass(frozen=True, slots=True)
class _Sure:
    """A mention by a name of one meaning."""

    text: str
    start: int
    end: int
    name: NameCandidates

    @property
    def entity(self) -> str:
        return self.name.ids[0]


def sure_examples(
    texts: Iterable[str], kb: KnowledgeBase, detector: MentionDetector, settings: SureSettings = SureSettings()
) -> list[LinkExample]:
    """Make examples of texts; equal texts count once, and their order changes nothing.

    A fifth of the entities, by the hashes of their identifiers, is held out: their mentions under an ambiguous name are
    the split `validation`. All others are `train`.

    Raises:
        OpenMofiError: too few mentions have an ambiguous name, or none to be trained on or held out.
    """
    sure, ambiguous = _mentions(texts, kb, detector)
    said = Counter(name.key for name in ambiguous)
    names = defaultdict[str, dict[str, NameCandidates]](dict)
    for name in ambiguous:
        for entity in name.ids:
            names[entity][name.key] = name
    count: Counter[tuple[str, str]] = Counter()
    renamed, contrasted = [], []
    pool = [mention for mention in sure if not _held_out(mention.entity)]
    for mention in sure:
        entity = mention.entity
        if names[entity] and count["renamed", entity] < settings.renamed:
            count["renamed", entity] += 1
            name = _drawn([names[entity][key] for key in sorted(names[entity])], entity, said, mention.text)
            renamed.append(_renamed(kb, mention, name))
        if not _held_out(entity) and count["contrasted", entity] < settings.contrasted:
            count["contrasted", entity] += 1
            contrasted.append(_contrasted(kb, mention, pool, settings.others))
    if len(renamed) < settings.least or len({example.split for example in renamed}) < 2:
        raise OpenMofiError(
            f"The texts name {len(renamed):,} times by a name of one meaning what they also name ambiguously; "
            f"{settings.least:,} are needed.",
            "Give more texts, or a knowledge base with more names.",
        )
    return renamed + contrasted


def _mentions(
    texts: Iterable[str], kb: KnowledgeBase, detector: MentionDetector
) -> tuple[list[_Sure], list[NameCandidates]]:
    """Return mentions by names of one meaning, and the ambiguous names as often as they occur."""
    distinct = sorted(dict.fromkeys(text for text in texts if text), key=_hash)
    mentions = detector.detect(distinct)
    looked_up = CandidateLookup(kb, LinkSettings()).of_texts(distinct, mentions)
    sure = [
        _Sure(text, mention.start, mention.end, name)
        for text, of_text, of_names in zip(distinct, mentions, looked_up, strict=True)
        for mention, name in zip(of_text, of_names, strict=True)
        if len(name.ids) == 1
    ]
    return sure, [name for of_names in looked_up for name in of_names if len(name.ids) > 1]


def _drawn(names: Sequence[NameCandidates], entity: str, said: Mapping[str, int], text: str) -> NameCandidates:
    """Draw a name by how often the texts may be expected to mean the entity by it; the text decides the draw."""
    expected = [said[name.key] * name.commonness[name.ids.index(entity)] for name in names]
    place = int(_hash(text), 16) / 2**64 * sum(expected)
    return next((name for name, end in zip(names, accumulate(expected), strict=True) if place < end), names[-1])


def _renamed(kb: KnowledgeBase, sure: _Sure, name: NameCandidates) -> LinkExample:
    text = f"{sure.text[: sure.start]}{name.key}{sure.text[sure.end :]}"
    split = HELD_OUT if _held_out(sure.entity) else TRAIN
    return LinkExample(
        text, sure.start, sure.start + len(name.key), candidates_of(kb, name), sure.entity, split, name.key
    )


def _contrasted(kb: KnowledgeBase, mention: _Sure, pool: Sequence[_Sure], others: int) -> LinkExample:
    """The mention with entities of the pool as further candidates, all as common."""
    draw = np.random.default_rng(int(_hash(mention.text), 16) + mention.start)
    drawn = [mention.name, *(pool[index].name for index in draw.integers(len(pool), size=others).tolist())]
    distinct = {name.ids[0]: name for name in drawn}
    candidates = [replace(candidates_of(kb, name)[0], prior=1 / len(distinct)) for name in distinct.values()]
    return LinkExample(mention.text, mention.start, mention.end, tuple(candidates), mention.entity, TRAIN)


def candidates_of(kb: KnowledgeBase, name: NameCandidates) -> tuple[LinkCandidate, ...]:
    """Return a name's candidates with their descriptions."""
    entities = [kb.entity(row) for row in name.rows.tolist()]
    return tuple(
        LinkCandidate(entity.id, entity.name, entity.description, entity.types[0] if entity.types else "", prior)
        for entity, prior in zip(entities, name.commonness, strict=True)
    )


def _held_out(entity: str) -> bool:
    return int(_hash(entity), 16) % _ONE_IN == 0


def _hash(text: str) -> str:
    return digits64(text.encode())

"""Examples that need no person: mentions by a name of one meaning, under another, ambiguous name of the same entity.

"Ramphastos on a branch" can mean but one thing. Where texts of the same kind also say "toucan", which has several
meanings, "toucan on a branch" is a mention whose meaning is known: real context, real candidates, real priors.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

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
        per_entity: most examples of an entity, so that a few entities do not decide.
        least: fewest examples that are enough to learn from.
    """

    per_entity: PositiveInt = 20
    least: PositiveInt = 100


def sure_examples(
    texts: Iterable[str], kb: KnowledgeBase, detector: MentionDetector, settings: SureSettings = SureSettings()
) -> list[LinkExample]:
    """Make examples of texts; equal texts count once, and their order changes nothing.

    A fifth of the entities, by the hashes of their identifiers, is held out: the split `validation`.

    Raises:
        OpenMofiError: there are fewer than `least`, or none to be trained on or held out.
    """
    distinct = sorted(dict.fromkeys(text for text in texts if text), key=_hash)
    mentions = detector.detect(distinct)
    looked_up = CandidateLookup(kb, LinkSettings()).of_texts(distinct, mentions)
    said = Counter(candidates.key for of_names in looked_up for candidates in of_names)
    names, sure = defaultdict[str, dict[str, NameCandidates]](dict), []
    for text, of_text, of_names in zip(distinct, mentions, looked_up, strict=True):
        for mention, candidates in zip(of_text, of_names, strict=True):
            if len(candidates.ids) == 1:
                sure.append((text, mention, candidates.ids[0]))
            else:
                names.update({entity: names[entity] | {candidates.key: candidates} for entity in candidates.ids})
    examples: defaultdict[str, list[LinkExample]] = defaultdict(list)
    for text, mention, entity in sure:
        if names[entity] and len(examples[entity]) < settings.per_entity:
            name = _drawn([names[entity][key] for key in sorted(names[entity])], entity, said, text)
            examples[entity].append(_renamed(kb, text, mention.start, mention.end, name, entity))
    found = [example for entity in sorted(examples) for example in examples[entity]]
    splits = {example.split for example in found}
    if len(found) < settings.least or len(splits) < 2:
        raise OpenMofiError(
            f"Of {len(distinct):,} texts {len(found):,} mentions have a known meaning and an ambiguous name; "
            f"{settings.least:,} are needed.",
            "Give more texts, or a knowledge base with more names.",
        )
    return found


def _drawn(names: Sequence[NameCandidates], entity: str, said: Mapping[str, int], text: str) -> NameCandidates:
    """Draw a name by how often the texts may be expected to mean the entity by it; the text decides the draw."""
    expected = [said[name.key] * name.commonness[name.ids.index(entity)] for name in names]
    place = int(_hash(text), 16) / 2**64 * sum(expected)
    return next((name for name, end in zip(names, accumulate(expected), strict=True) if place < end), names[-1])


def _renamed(kb: KnowledgeBase, text: str, start: int, end: int, name: NameCandidates, entity: str) -> LinkExample:
    split = HELD_OUT if int(_hash(entity), 16) % _ONE_IN == 0 else TRAIN
    renamed = f"{text[:start]}{name.key}{text[end:]}"
    return LinkExample(renamed, start, start + len(name.key), candidates_of(kb, name), entity, split, name.key)


def candidates_of(kb: KnowledgeBase, name: NameCandidates) -> tuple[LinkCandidate, ...]:
    """Return a name's candidates with their descriptions."""
    entities = [kb.entity(row) for row in name.rows.tolist()]
    return tuple(
        LinkCandidate(entity.id, entity.name, entity.description, entity.types[0] if entity.types else "", prior)
        for entity, prior in zip(entities, name.commonness, strict=True)
    )


def _hash(text: str) -> str:
    return digits64(text.encode())

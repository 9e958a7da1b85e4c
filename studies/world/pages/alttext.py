"""The noise model of the world's texts: which entities a text names, by which names, in which phrases."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from studies.world.images.emoji import LANGUAGES
from studies.world.images.entities import DepictedEntity
from studies.world.pages.templates import BOILERPLATE, ENGLISH, FOREIGN, PLAIN
from studies.world.seeds import pick
from studies.world.world_settings import TextNoise

_TRUTH_FIRST = 0.6
_TRIES = 20


class TextKind(StrEnum):
    """What a text names."""

    TRUTH = "names_truth"
    WRONG = "only_wrong"
    NOTHING = "names_none"
    BOILERPLATE = "boilerplate"


@dataclass(frozen=True)
class AltText:
    """A text and what went into it.

    Attributes:
        text: as it stands on the page.
        kind: what it names.
        language: `en`, another one, or `""` for boilerplate.
        surface: the name of the truth as drawn, before joining and lower-casing; `""` where it is not named.
        further: identifiers of the entities that it names although the image does not show them.
    """

    text: str
    kind: TextKind
    language: str = ""
    surface: str = ""
    further: tuple[str, ...] = ()


class AltTexts:
    """Writes alt-texts.

    Args:
        noise: the rates.
        depicted: entities that may be named (never the held-out ones).
        undepicted: entities without artwork that may be named beside the truth: (id, English names).
        keys: the knowledge base's normalisation; no further entity shares a key with the truth.
    """

    def __init__(
        self,
        noise: TextNoise,
        depicted: Sequence[DepictedEntity],
        undepicted: Sequence[tuple[str, tuple[str, ...]]],
        keys: Callable[[str], str],
    ) -> None:
        self._noise = noise
        self._depicted = list(depicted)
        self._undepicted = [
            DepictedEntity(identifier, names[0], "", "", {"en": names}) for identifier, names in undepicted
        ]
        self._domains: dict[str, list[DepictedEntity]] = {}
        for entity in depicted:
            self._domains.setdefault(entity.domain, []).append(entity)
        self._keys = {
            entity.id: {keys(name) for names in entity.names.values() for name in names}
            for entity in [*self._depicted, *self._undepicted]
        }

    def write(self, truth: DepictedEntity, rng: random.Random) -> AltText:
        """A text for an artwork of `truth`; draws only from `rng`."""
        noise = self._noise
        kind = list(TextKind)[pick(rng, (noise.names_truth, noise.only_wrong, noise.names_none, noise.boilerplate))]
        if kind is TextKind.BOILERPLATE:
            text = rng.choice(BOILERPLATE).format(n=rng.randrange(1, 9999), d=rng.randrange(1, 28))
            return AltText(text, kind)
        language = rng.choice(LANGUAGES) if rng.random() < noise.foreign else "en"
        phrases = ENGLISH if language == "en" else FOREIGN.get(language, PLAIN)
        if kind is TextKind.NOTHING:
            text = rng.choice(phrases.nothing or FOREIGN[rng.choice(sorted(FOREIGN))].nothing)
            return AltText(self._cased(text, rng), kind, language)
        count = pick(rng, noise.further)
        if kind is TextKind.WRONG:
            # The same distribution, given that there is at least one.
            count = 1 + pick(rng, noise.further[1:])
        further = self._further(truth, count, rng)
        names = [self._name(entity, language, rng) for entity in further]
        surface = ""
        if kind is TextKind.TRUTH:
            surface = self._name(truth, language, rng)
            names.insert(0 if rng.random() < _TRUTH_FIRST else rng.randrange(len(names) + 1), surface)
        text = rng.choice(phrases.wraps).format(_join(names, phrases.joins, rng))
        return AltText(self._cased(text, rng), kind, language, surface, tuple(entity.id for entity in further))

    def _cased(self, text: str, rng: random.Random) -> str:
        if rng.random() < self._noise.lower_case:
            return text.lower()
        return text[:1].upper() + text[1:]

    def _further(self, truth: DepictedEntity, count: int, rng: random.Random) -> list[DepictedEntity]:
        further: list[DepictedEntity] = []
        taken = set(self._keys[truth.id])
        for _ in range(count * _TRIES):
            if len(further) == count:
                break
            entity = rng.choice(self._pool(truth, rng))
            if entity.id != truth.id and not self._keys[entity.id] & taken:
                further.append(entity)
                taken |= self._keys[entity.id]
        return further

    def _pool(self, truth: DepictedEntity, rng: random.Random) -> list[DepictedEntity]:
        if rng.random() < self._noise.same_domain:
            return self._domains[truth.domain]
        return self._undepicted if self._undepicted and rng.random() < self._noise.unpictured else self._depicted

    def _name(self, entity: DepictedEntity, language: str, rng: random.Random) -> str:
        names = entity.names.get(language)
        if names:
            name = names[0] if rng.random() < self._noise.preferred_name else rng.choice(names)
            if language != "en":
                return name
        else:
            name = entity.name
        if rng.random() < self._noise.plural:
            name = plural(name)
        if " " in name and rng.random() < self._noise.hyphen:
            name = name.replace(" ", "-")
        return name


def _join(names: Sequence[str], joins: Sequence[str], rng: random.Random) -> str:
    text = names[0] if names else ""
    for name in names[1:]:
        text += rng.choice(joins) + name
    return text


_IRREGULAR: Mapping[str, str] = {
    "man": "men",
    "woman": "women",
    "person": "people",
    "child": "children",
    "mouse": "mice",
    "goose": "geese",
    "foot": "feet",
    "tooth": "teeth",
    "sheep": "sheep",
    "fish": "fish",
    "deer": "deer",
    "ox": "oxen",
    "leaf": "leaves",
    "wolf": "wolves",
    "knife": "knives",
    "loaf": "loaves",
    "scissors": "scissors",
    "calf": "calves",
    "elf": "elves",
}


def plural(name: str) -> str:
    """The English plural of a common name; proper names (a capital in the last word) and others stay as they are."""
    head, space, last = name.rpartition(" ")
    if not re.fullmatch(r"[a-z'-]{2,}[a-rt-z]", last):
        return name
    if last in _IRREGULAR:
        return head + space + _IRREGULAR[last]
    if re.search(r"(x|z|ch|sh)$", last):
        return name + "es"
    if re.search(r"[^aeiou]y$", last):
        return name[:-1] + "ies"
    return name + "s"

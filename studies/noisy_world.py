"""Corpora of the sample world's pages whose noise is systematic: it comes again, and so can be learned.

The noise of the sample world's own texts is drawn anew for each page. That of the web is not: collections print the
same words under all that they hold and have a style of their own, some things are named beside others again and again,
and whole folders carry a topic that their images do not show.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image, ImageOps

from openmofi.pairs import ImageRefused, Record, decode_image, read_pairs, write_tar
from openmofi.schema import ENTITIES, TRUTH, Pair
from openmofi.storage import Shard, read_parquet
from studies.label_errors import Kinship
from studies.scoring import Truth
from studies.world.seeds import rng_of, share_of

_COLLECTIONS = ("Halvard", "Tessaro", "Quimbel", "Velmont", "Ordwick", "Brunnish")
_TOPICS, _TOPICS_A_PAGE = 4, 2
_SHELVES, _SHELF_TOPICS = 12, 2
_BORDER, _TINT = 10, 0.3


@dataclass(frozen=True)
class Noise:
    """How a corpus is wrong; each is a share of the pages, 0..1.

    Attributes:
        collections: are of one of six collections: the text ends in "Part of the X collection" and two of its four
            topics, which are entities of the world, and the image has the collection's border and tint.
        companions: name the companion of what they show: an entity of the same domain, the same one each time.
        topics: end in two hypernyms of other entities, the same for all entities of one of twelve shelves.
        untrue: have the text of a page that shows something else.
    """

    collections: float = 0.0
    companions: float = 0.0
    topics: float = 0.0
    untrue: float = 0.0


NOISES: Mapping[str, Noise] = {
    "none": Noise(),
    "collections": Noise(collections=0.6),
    "companions": Noise(companions=0.5),
    "topics": Noise(topics=0.5),
    "untrue": Noise(untrue=0.5),
    "all": Noise(0.6, 0.5, 0.5, 0.5),
}


@dataclass(frozen=True)
class NoisyWorld:
    """What corpora are made of.

    Attributes:
        pages: shards of the sample world.
        shown: (shard, key) → what the image shows, and its domain; broken images are not there.
        names: entity → preferred name.
        kinship: of the entities.
    """

    pages: Sequence[Shard]
    shown: Mapping[tuple[str, str], tuple[str, str]]
    names: Mapping[str, str]
    kinship: Kinship

    @classmethod
    def open(cls, pages: Sequence[Shard], world: Path) -> NoisyWorld:
        """Of pages of the sample world in `world`."""
        shards = [shard.name for shard in pages]
        rows = read_parquet(world / "truth.parquet", TRUTH).to_pylist()
        shown = {
            (row["shard"], row["key"]): (row["entity"], row["domain"])
            for row in rows
            if row["entity"] and row["shard"] in shards
        }
        entities = pq.read_table(world / "kb/entities.parquet", schema=ENTITIES, columns=["id", "name"])
        return cls(pages, shown, dict(zip(*entities.to_pydict().values(), strict=True)), Kinship.read(world / "kb"))

    @cached_property
    def depicted(self) -> list[str]:
        """The entities that some image shows, sorted."""
        return sorted({entity for entity, _ in self.shown.values()})

    @cached_property
    def truth(self) -> list[Truth]:
        """For scoring. What an entity is a kind of is true of its image too, but nobody judged it: it is in doubt."""
        return [
            Truth(shard, key, frozenset({entity}), frozenset(self.kinship.ancestors(entity)))
            for (shard, key), (entity, _) in self.shown.items()
        ]

    @cached_property
    def companions(self) -> Mapping[str, str]:
        """Entity → what is named beside it: the next in a shuffled ring of its domain."""
        rings: dict[str, set[str]] = {}
        for entity, domain in self.shown.values():
            rings.setdefault(domain, set()).add(entity)
        ordered = [sorted(ring, key=lambda entity: share_of("companion", entity)) for ring in rings.values()]
        return {
            entity: following for ring in ordered for entity, following in zip(ring, ring[1:] + ring[:1], strict=True)
        }

    @cached_property
    def shelves(self) -> Sequence[Sequence[str]]:
        """The topics of each shelf."""
        hypernyms = sorted({above for entity in self.depicted for above in self.kinship.above.get(entity, ())})
        return [rng_of("shelf", number).sample(hypernyms, _SHELF_TOPICS) for number in range(_SHELVES)]

    def untrue_topics(self, entity: str) -> list[str]:
        """What stands on the entity's shelf and is not true of it."""
        shelf = self.shelves[int(share_of("shelf", entity) * _SHELVES)]
        return [topic for topic in shelf if topic not in self.kinship.ancestors(entity)]


@dataclass(frozen=True)
class Collection:
    """A source of pages with words and a look of its own."""

    name: str
    topics: Sequence[str]
    colour: tuple[int, int, int]

    @classmethod
    def of_page(cls, world: NoisyWorld, shard: str, key: str) -> Collection:
        """The collection that a page is drawn into; what it shows plays no part."""
        name = _COLLECTIONS[int(share_of("collection", shard, key) * len(_COLLECTIONS))]
        rng = rng_of("collection", name)
        topics = [world.names[entity] for entity in rng.sample(world.depicted, _TOPICS)]
        return cls(name, topics, (rng.randrange(256), rng.randrange(256), rng.randrange(256)))

    def text(self, rng: random.Random) -> str:
        """What it prints under a page."""
        return f"Part of the {self.name} collection, {', '.join(rng.sample(self.topics, _TOPICS_A_PAGE))}"

    def styled(self, content: bytes) -> bytes:
        """The image in its border and tint; one that cannot be decoded as it is."""
        try:
            image = decode_image(content).convert("RGB")
        except ImageRefused:
            return content
        tinted = Image.blend(image, Image.new("RGB", image.size, self.colour), _TINT)
        buffer = io.BytesIO()
        ImageOps.expand(tinted, _BORDER, self.colour).save(buffer, "JPEG", quality=85)
        return buffer.getvalue()


def write_corpus(world: NoisyWorld, noise: Noise, out: Path) -> None:
    """Write the pages with this noise: the same shards and keys; equal worlds give equal bytes."""
    texts = _untrue_texts(world) if noise.untrue else {}
    for shard in world.pages:
        write_tar(out / f"{shard.name}.tar", _records(world, noise, shard, texts))


def _records(world: NoisyWorld, noise: Noise, shard: Shard, texts: Mapping[tuple[str, str], str]) -> Iterator[Record]:
    for pair in read_pairs(shard):
        where = (shard.name, pair.key)
        if where in world.shown:
            yield _noisy(world, noise, where, pair, texts.get(where, pair.text))
        else:
            yield Record(pair.key, pair.image, pair.text)


def _noisy(world: NoisyWorld, noise: Noise, where: tuple[str, str], pair: Pair, other: str) -> Record:
    """A page with its noise, of which each kind is drawn for itself: the same page has it in all corpora."""
    entity, rng, image, url = world.shown[where][0], rng_of("noise", *where), pair.image, pair.url
    assert image is not None, "what is shown was drawn"
    text = other if share_of("untrue", *where) < noise.untrue else pair.text
    if share_of("companions", *where) < noise.companions:
        text = f"{text} {rng.choice(('and', 'with', 'next to'))} {world.names[world.companions[entity]]}"
    if share_of("topics", *where) < noise.topics:
        text = ". ".join([text, ", ".join(world.names[topic] for topic in world.untrue_topics(entity))])
    if share_of("collections", *where) < noise.collections:
        collection = Collection.of_page(world, *where)
        text, image = f"{text}. {collection.text(rng)}", collection.styled(image)
        url = f"https://{collection.name.lower()}.invalid/{pair.key}"
    return Record(pair.key, image, text, {"url": url})


def _untrue_texts(world: NoisyWorld) -> dict[tuple[str, str], str]:
    """For each page the text of one that shows something else, drawn at random."""
    texts = {(shard.name, pair.key): pair.text for shard in world.pages for pair in read_pairs(shard)}
    pages = sorted(world.shown)
    untrue = {}
    for where in pages:
        rng, other = rng_of("untrue", *where, "of"), where
        while world.shown[other][0] == world.shown[where][0]:
            other = rng.choice(pages)
        untrue[where] = texts[other]
    return untrue

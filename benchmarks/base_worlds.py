"""Pages, an encoder and a knowledge base at the level of vectors: a label job whose shards are read and linked.

The world, in 64 dimensions: 20 kinds; 300 names, each of a kind (cosines of .3 among these), each with `senses`
meanings (cosines of .45 among these). A meaning has a text vector t and a look v with a cosine of β, and an image is
near to its look with a cosine of α; α = β = √(separation / 8), so that what is shown lies about `separation` SD above
what is not, and what misleads in an entity's text misleads on all of its images. The logit scale is 30.

A page shows a meaning of a name, drawn by popularity. Of `missing` of the names, common and rare, no base has the
meaning that their images show, nor of one page in twenty of the others; it is as near to the meanings that a base has
as these are to each other. The text names it in half of the pages; else another name, in half of these of the same
kind. Half of the texts name a companion of the kind, too: of `faithful` of the pages the same one for each name. Three
in ten name something at random. No page depends on the base, and each has eight words of its own.

A base of 5,000 entities has the meanings above. Each tenfold one adds what no image shows:
- a meaning to each name on average (Poisson), near to one that was there: with cosines that rise from .4 to `nearest`,
  since of more entities the nearest is nearer. Link scores divide a mention among more meanings, and the image judges
  the best eight;
- to each text on average a word (Poisson) that now names something, of 100 more words: half of these belong to a kind,
  in texts and by their vectors (a cosine of .45 to its centre), as "grillroom" does to food.
Only entities that texts may mean are drawn: nothing else of a base reaches evidence, decoys or the reference set. The
knowledge base has no relations, so that nearness is that of text vectors; no type is shown more readily than others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.features.entity_table import EntityFeatures
from openmofi.labeling.label_job import LabelJob
from openmofi.labeling.label_settings import LabelSettings
from openmofi.labeling.tables import LinkArrays, ReadShard, rank_in_run, starts_of
from openmofi.storage import Shard

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
SMALLEST = 5_000
DIM, SCALE = 64, 30.0
KINDS, NAMES, WORDS, DECADES = 20, 300, 300, 3
_NAMED, _COMPANION, _RANDOM, _LACKING = 0.5, 0.5, 0.3, 0.05
_KIND, _SENSE, _WORD = 0.3, 0.45, 0.45
_MASS, _JITTER, _FILLER, _FARTHEST = 0.95, 0.3, 8, 0.4


@dataclass(frozen=True)
class BaseWorld:
    """A cell; see the head of this module."""

    pages: int
    senses: int
    base: int
    separation: float
    seed: int = 0
    missing: float = 0.15
    faithful: float = 0.5
    nearest: float = 0.7

    def draw(self, what: int) -> np.random.Generator:
        """Return a generator that depends on nothing but the seed and what is drawn."""
        return np.random.default_rng([self.seed, what])

    @property
    def cosine(self) -> float:
        """Return α and β."""
        return float(np.sqrt(self.separation / np.sqrt(DIM)))

    @property
    def decades(self) -> int:
        """Return how many times the base is ten times the smallest one."""
        return round(np.log10(self.base / SMALLEST))


def _unit(values: Floats) -> Floats:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def _near(vectors: Floats, cosine: float | Floats, draw: np.random.Generator) -> Floats:
    """(n, dim) unit vectors with about this cosine to unit `vectors`."""
    cosine = np.asarray(cosine)[..., None]
    return _unit(cosine * vectors + np.sqrt(1 - cosine**2) * _unit(draw.standard_normal(vectors.shape)))


@dataclass(frozen=True)
class _Base:
    """Meanings in the order of their names; names from `NAMES` on are words.

    Attributes:
        name, weight, text: (e,) name, (e,) popularity and (e, dim) text vector of each.
        kind: (names,) of each name; −1 for words of none.
        looks: (NAMES, senses + 1, dim) of the first meanings of each name, and of one that no base has.
    """

    name: Ints
    weight: Floats
    text: Floats
    kind: Ints
    looks: Floats


def _base(world: BaseWorld) -> _Base:
    draw, senses = world.draw(0), world.senses
    kinds = _unit(draw.standard_normal((KINDS, DIM)))
    kind = draw.integers(0, KINDS, NAMES)
    centre = _near(kinds[kind], np.sqrt(_KIND), draw)
    # Drawn for eight, so that the first senses are the same in every column of the grid.
    text = _near(np.repeat(centre[:, None], 9, axis=1), np.sqrt(_SENSE), draw)
    text = text[:, [*range(senses), 8]]
    looks = _near(text, world.cosine, world.draw(1))
    popularity = 1 / np.arange(1, senses + 1)
    parts = [(np.repeat(np.arange(NAMES), senses), np.tile(popularity, NAMES), text[:, :senses].reshape(-1, DIM), 0)]
    draw = world.draw(2)
    for decade in range(1, DECADES + 1):
        name = np.repeat(np.arange(NAMES), draw.poisson(1.0, NAMES))
        beside = text[name, draw.integers(0, senses, len(name))]
        rise = (world.nearest - _FARTHEST) / DECADES
        near = _near(beside, _FARTHEST + rise * (decade - 1 + draw.random(len(name))), draw)
        parts.append((name, draw.uniform(0.05, 0.3, len(name)), near, decade))
    draw = world.draw(3)
    word_kind = np.where(np.arange(WORDS) < WORDS // 2, draw.integers(0, KINDS, WORDS), -1)
    for decade in range(1, DECADES + 1):
        word = np.arange(decade - 1, WORDS, DECADES)
        word = np.repeat(word, np.maximum(draw.poisson(senses, len(word)), 1))
        topical = _near(kinds[word_kind[word]], _WORD, draw)
        vectors = np.where(word_kind[word, None] >= 0, topical, _unit(draw.standard_normal(topical.shape)))
        parts.append((NAMES + word, draw.uniform(0.2, 1.0, len(word)), vectors, decade))
    name, weight, vectors = (np.concatenate([part[number] for part in parts]) for number in range(3))
    decades = np.concatenate([np.full(len(part[0]), part[3]) for part in parts])
    kind = np.concatenate([kind, word_kind])
    order = np.lexsort((decades, name))
    order = order[decades[order] <= world.decades]
    return _Base(name[order], weight[order], vectors[order], kind, looks)


@dataclass(frozen=True)
class SimulatedJob:
    """A read job and its truth.

    Attributes:
        job: its shards are read.
        right: (pages,) the entity that is named and shown, −1 for none.
        shown: (pages,) the name of what is shown.
        name: (entities,) whose meaning each is.
    """

    job: _ReadJob
    right: Ints
    shown: Ints
    name: Ints


@dataclass(frozen=True)
class _Pages:
    """Mentions and images.

    Attributes:
        page, name: (m,) of each mention.
        images: (pages, dim).
        shown, sense: (pages,) the name, and which of `_Base.looks`; −1 where it is not named or no base has it.
    """

    page: Ints
    name: Ints
    images: Floats
    shown: Ints
    sense: Ints


def _of_kind(kinds: Ints, wanted: Ints, draw: np.random.Generator) -> Ints:
    """(n,) for each wanted kind the place of one of `kinds` that is equal, or of any where none is."""
    order = np.argsort(kinds, kind="stable")
    first, last = (np.searchsorted(kinds[order], wanted, side) for side in ("left", "right"))
    at = draw.random(len(wanted))
    inside = first + (at * (last - first)).astype(np.int64)
    return np.asarray(order[np.where(last > first, np.minimum(inside, len(order) - 1), at * len(order)).astype(int)])


def _pages(world: BaseWorld, base: _Base) -> _Pages:
    draw, pages, kind = world.draw(4), world.pages, base.kind[:NAMES]
    often = 1 / (np.arange(NAMES) + 10)
    shown = draw.choice(NAMES, pages, p=often / often.sum())
    popularity = 1 / np.arange(1, world.senses + 1)
    sense = draw.choice(world.senses, pages, p=popularity / popularity.sum())
    # Evenly spread from common to rare names, so that corpora differ less.
    missing = (np.arange(NAMES) * world.missing + world.draw(9).random()) % 1 < world.missing
    lacking = (draw.random(pages) < _LACKING) | missing[shown]
    sense[lacking] = world.senses
    images = _near(base.looks[shown, sense], world.cosine, world.draw(5))
    named, near = draw.random(pages) < _NAMED, draw.random(pages) < 0.5
    other = np.where(near, _of_kind(kind, kind[shown], draw), draw.integers(0, NAMES, pages))
    mentions = [(np.arange(pages), np.where(named, shown, other))]
    partner, is_faithful = _of_kind(kind, kind, draw)[shown], draw.random(pages) < world.faithful
    companion = np.where(is_faithful, partner, _of_kind(kind, kind[shown], draw))
    for share, beside in ((_COMPANION, companion), (_RANDOM, draw.integers(0, NAMES, pages))):
        some = np.flatnonzero(draw.random(pages) < share)
        mentions.append((some, beside[some]))
    for decade in range(world.decades):
        draw, words = world.draw(10 + decade), np.arange(NAMES + decade, NAMES + WORDS, DECADES)
        of = np.repeat(np.arange(pages), draw.poisson(1.0, pages))
        topical = words[_of_kind(base.kind[words], kind[shown[of]], draw)]
        mentions.append((of, np.where(draw.random(len(of)) < 0.5, topical, draw.choice(words, len(of)))))
    page, name = np.unique(np.concatenate(mentions, axis=1), axis=1)
    has_named = np.zeros(pages, bool)
    has_named[page[name == shown[page]]] = True
    return _Pages(page, name, images, shown, np.where(has_named & ~lacking, sense, -1))


def simulate(world: BaseWorld, shards: int = 1, settings: LabelSettings | None = None) -> SimulatedJob:
    """Draw the pages and read them, cut into so many shards."""
    base = _base(world)
    pages = _pages(world, base)
    # A mention has the meanings of its name, the likeliest first.
    size = np.bincount(base.name, minlength=NAMES + WORDS)[pages.name]
    mention = np.repeat(np.arange(len(size)), size)
    before = np.cumsum(size) - size
    entity = np.searchsorted(base.name, pages.name)[mention] + np.arange(len(mention)) - before[mention]
    weight = base.weight[entity] * np.exp(_JITTER * world.draw(7).standard_normal(len(entity)))
    link = _MASS * weight / np.bincount(mention, weight)[mention]
    order = np.lexsort((-link, mention))
    mention, entity, link = mention[order], entity[order], link[order].astype(np.float32)
    judged = rank_in_run(starts_of(mention)) < LabelSettings().text.max_candidates
    ids = pa.array([f"e{number:07d}" for number in range(len(base.name))])
    place = np.arange(len(size)) - np.searchsorted(pages.page, pages.page)
    links = LinkArrays(ids, pages.page[mention], place[mention], entity, link, link, judged, np.zeros(len(link), bool))
    occurring = np.unique(entity[judged])
    entities = EntityFeatures.of(ids.take(pa.array(occurring)), base.text[occurring].astype(np.float32))
    right = np.where(pages.sense >= 0, np.searchsorted(base.name, pages.shown) + pages.sense, -1)
    job = _job(_blocks(world, links, pages, shards), entities, settings or LabelSettings())
    return SimulatedJob(job, right, pages.shown, base.name)


def _blocks(world: BaseWorld, links: LinkArrays, pages: _Pages, shards: int) -> tuple[ReadShard, ...]:
    filler = world.draw(8).integers(0, 20_000, (world.pages, _FILLER))
    starts = np.searchsorted(pages.page, np.arange(world.pages + 1))
    surfaces = [[f"name{each}" for each in pages.name[start:end]] for start, end in pairwise(starts.tolist())]
    texts = [
        " ".join([*of_page, *(f"w{word}" for word in words)])
        for of_page, words in zip(surfaces, filler.tolist(), strict=True)
    ]
    table = pa.table(
        {
            "key": [f"{number:08d}" for number in range(world.pages)],
            "text": texts,
            "mentions": [[{"surface": surface} for surface in of_page] for of_page in surfaces],
        }
    )
    blocks = []
    for number, rows in enumerate(np.array_split(np.arange(world.pages), shards)):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        features: Any = SimpleNamespace(values=pages.images[part].astype(np.float32))
        shard = Shard(f"{number:05d}.tar", f"{number:05d}")
        shard.__dict__["fingerprint"] = f"{number}"
        usable, groups = np.ones(len(rows), bool), rows.astype(np.uint64)
        blocks.append(
            ReadShard(shard, table.slice(part.start, len(rows)), features, links.of_pairs(rows), usable, groups)
        )
    return tuple(blocks)


class _ReadJob(LabelJob):
    """A job whose shards have been read."""

    read: tuple[ReadShard, ...]

    def rows(self, shard: Shard) -> int:
        return len(self.read[int(shard.name)].usable)

    def blocks(self) -> Iterator[ReadShard]:
        return (self.read[int(shard.name)] for shard in self.sample)


def _job(blocks: tuple[ReadShard, ...], entities: EntityFeatures, settings: LabelSettings) -> _ReadJob:
    kb: Any = SimpleNamespace(
        fingerprint="simulated",
        rows=lambda ids: np.zeros(len(ids), np.int64),
        vectors=lambda rows: np.zeros((len(rows), 1), np.float32),
        types=lambda rows: pa.array([[] for _ in rows], pa.list_(pa.string())),
    )
    encoder: Any = SimpleNamespace(
        spec="simulated",
        fingerprint="simulated",
        dim=DIM,
        logit_scale=SCALE,
        project_images=lambda features: features,
        project_texts=lambda features: features,
        companions=SimpleNamespace(folds=None, class_vectors=None),
    )
    nothing: Any = SimpleNamespace(kb=kb, links_key="simulated")
    job = _ReadJob(tuple(block.shard for block in blocks), nothing, encoder, settings, nothing)
    job.read, job.entities = blocks, entities
    return job

"""Whether searches end where they say: what lists are expected to hold, and what the world's truth finds in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openmofi.knowledge import KnowledgeBase
from openmofi.search import Example, Index, Query, build
from openmofi.search.rank.calibration import end_of
from openmofi.storage import expand_shards
from studies.world.encoder import PARTIAL_LABELS

UNTIL = (0.5, 0.8, 0.9, 0.95)
SHOWN = 150
"""Results of a query that are looked at."""
_TOGETHER, _RESAMPLES = 64, 1000
_FEWEST = 20
"""Lists that begin, from which on a gap is reported."""
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """The results of a query, best first.

    Attributes:
        right: (n,) whether each shows what was asked for.
        known: (n,) whether the truth knows that.
        probability, cosine: (n,) of each.
        wanted: how many images of the index are known to show it.
    """

    right: NDArray[np.bool_]
    known: NDArray[np.bool_]
    probability: Doubles
    cosine: Doubles
    wanted: int

    def cut(self, until: float) -> tuple[int, float, int]:
        """How many are shown until this expected precision, how many of these are expected to be right, and how many
        are: of those that the truth knows.
        """
        end = end_of(self.probability, until)
        known = self.known[:end]
        return int(known.sum()), float(self.probability[:end][known].sum()), int(self.right[:end][known].sum())


@dataclass(frozen=True)
class Shown:
    """What an image shows, as far as it is known.

    Attributes:
        entities: that it shows.
        doubt: of which that is not known.
        wider: `entities` with the classes that they belong to, which it shows too: a search for birds wants penguins.
    """

    entities: frozenset[str]
    doubt: frozenset[str]
    wider: frozenset[str]

    @classmethod
    def of(cls, entities: Iterable[str], kb: KnowledgeBase, doubt: Iterable[str] = ()) -> Shown:
        """Of the entities that are shown, and those that may be, with the classes of a knowledge base."""
        shown, unsure = frozenset(entities), frozenset(doubt)
        wider = shown | _above(shown, kb)
        return cls(shown, (unsure | _above(unsure, kb)) - wider, wider)


def read_truth(index: Index, truth: str | Path, kb: KnowledgeBase) -> dict[int, Shown]:
    """Image of the index → what it shows, by a table of `openmofi.schema.TRUTH` and the classes of a knowledge base;
    images that the index lacks are left out.
    """
    table = pq.read_table(truth, columns=["shard", "key", "entity"]).to_pydict()
    shown = {entity: Shown.of([entity] if entity else [], kb) for entity in {*table["entity"]}}
    return by_image(
        index,
        {
            (shard, key): shown[entity]
            for shard, key, entity in zip(table["shard"], table["key"], table["entity"], strict=True)
        },
    )


def _above(entities: frozenset[str], kb: KnowledgeBase) -> frozenset[str]:
    return frozenset(above for entity in entities if entity in kb for above in kb.ancestors(entity))


def by_image(index: Index, truth: Mapping[tuple[str, str], Shown]) -> dict[int, Shown]:
    """The same by the ids of the index's images."""
    rows = index.connection.execute("SELECT images.id, shard, key FROM images JOIN sources ON sources.id = source")
    return {image: truth[shard, key] for image, shard, key in rows if (shard, key) in truth}


def held_out(truth: str | Path) -> set[str]:
    """The entities that no page shows or names."""
    table = pq.read_table(truth, columns=["entity", "split"]).to_pydict()
    return {
        entity for entity, split in zip(table["entity"], table["split"], strict=True) if split == "heldout_entities"
    }


def image_queries(truth: Mapping[int, Shown], index: Index, entities: Sequence[str]) -> dict[str, Query]:
    """Entity → a search by the first image of it that has a vector."""
    state, first = index.state, dict[str, int]()
    images = np.array(sorted(truth), np.int64)
    for image in images[state.positions(images) >= 0].tolist():
        for entity in truth[image].entities:
            first.setdefault(entity, image)
    return {entity: Query((Example(first[entity]),), limit=SHOWN, fold=False) for entity in entities if entity in first}


def answers(index: Index, truth: Mapping[int, Shown], queries: Mapping[str, Query]) -> list[Answer]:
    """Ask for each entity; the query's own image is no result."""
    wanted = Counter(entity for shown in truth.values() for entity in shown.wider)
    items, found = list(queries.items()), []
    for start in range(0, len(items), _TOGETHER):
        part = items[start : start + _TOGETHER]
        vectors = index.vectors_of([query for _, query in part])
        for (entity, query), vector in zip(part, vectors, strict=True):
            itself = {example.image for example in query.examples}
            hits = [hit for hit in index.search(query, vector).hits if hit.image.id not in itself]
            shown = [truth.get(hit.image.id) for hit in hits]
            found.append(
                Answer(
                    np.array([each is not None and entity in each.wider for each in shown], bool),
                    np.array([each is not None and entity not in each.doubt for each in shown], bool),
                    np.array([hit.probability or 0.0 for hit in hits], np.float64),
                    np.array([hit.cosine or -1.0 for hit in hits], np.float64),
                    wanted[entity] - len(itself),
                )
            )
    return found


def measured(found: Sequence[Answer], seed: int = 0) -> dict[str, Any]:
    """Figures of one kind of query; intervals are 95 %, queries being drawn.

    Returns:
        `queries`, `wanted` (right images in all), `average_precision` `by_cosine`, `by_probability` and `as_shown`; and
        of each of `UNTIL` `shown`, `lists` (queries that show something), `expected` and `precision` of these with
        `interval`, `gap` (`precision` − `expected`), `recall`, and `flat_recall`: of the one cut-off on cosines that
        finds most at the same precision, chosen with the truth in hand.
    """
    wanted = max(sum(each.wanted for each in found), 1)
    right = np.concatenate([each.right[each.known] for each in found] or [np.zeros(0, bool)])
    order = np.argsort(-np.concatenate([each.cosine[each.known] for each in found] or [np.zeros(0)]), kind="stable")
    precision = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    results: dict[str, Any] = {
        "queries": len(found),
        "wanted": wanted,
        "average_precision": {
            name: round(float(np.mean([_average_precision(each, key(each)) for each in found] or [0.0])), 4)
            for name, key in _ORDERS.items()
        },
    }
    draw = np.random.default_rng(seed)
    for until in UNTIL:
        cuts = np.array([each.cut(until) for each in found]).reshape(-1, 3)
        shown, expected, true = cuts.sum(axis=0)
        if not shown:
            results[str(until)] = {"shown": 0, "lists": 0}
            continue
        drawn = cuts[draw.integers(0, len(cuts), (_RESAMPLES, len(cuts)))].sum(axis=1)
        shares = drawn[drawn[:, 0] > 0]
        reached = np.flatnonzero(precision >= true / shown)
        flat = int(right[order][: reached[-1] + 1].sum()) if len(reached) else 0
        results[str(until)] = {
            "shown": int(shown),
            "lists": int((cuts[:, 0] > 0).sum()),
            "expected": round(expected / shown, 4),
            "precision": round(true / shown, 4),
            "interval": np.quantile(shares[:, 2] / shares[:, 0], [0.025, 0.975]).round(4).tolist(),
            "gap": round((true - expected) / shown, 4),
            "recall": round(true / wanted, 4),
            "flat_recall": round(flat / wanted, 4),
        }
    return results


_ORDERS: Mapping[str, Callable[[Answer], Doubles]] = {
    "as_shown": lambda each: -np.arange(len(each.right), dtype=np.float64),
    "by_cosine": lambda each: each.cosine,
    "by_probability": lambda each: each.probability,
}


def _average_precision(answer: Answer, scores: Doubles) -> float:
    """Of the results that are there; what is wanted and not among them counts 0."""
    ranks = np.flatnonzero(answer.right[np.argsort(-scores, kind="stable")]) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).sum() / max(min(answer.wanted, SHOWN), 1))


def largest_gap(figures: Mapping[str, Any], fewest: int = _FEWEST) -> float | None:
    """The largest |precision − expected| over the ends at which so many lists begin; `None` where none does."""
    return max((abs(end["gap"]) for until in UNTIL if (end := figures[str(until)])["lists"] >= fewest), default=None)


def search_metrics(root: Path) -> dict[str, Any]:
    """The demo's searches, over an index of its held-out pages and, without texts, images of its held-out entities: the
    first shard of them, so that it takes less than a minute.

    Args:
        root: the demo's folder; gets `index-heldout`.

    Returns:
        `by_entity` (of entities that the pages name) and `by_image` (of held-out entities): see `measured`; and
        `calibrated_gap`, the largest gap of searches by entity.
    """
    from openmofi.encoders import open_encoder

    kb = KnowledgeBase.open(root / "kb")
    encoder = open_encoder(f"run:{root / 'encoders' / PARTIAL_LABELS}")
    unnamed = expand_shards([str(root / "world/retrieval")])[0]
    build([str(root / "labels-heldout"), unnamed.path], encoder, root / "index-heldout", kb=kb, entities="judged")
    index = Index.open(root / "index-heldout", encoder)
    truth, held = read_truth(index, root / "world/truth.parquet", kb), held_out(root / "world/truth.parquet")
    named = sorted({entity for shown in truth.values() for entity in shown.entities} - held)
    known = index.state.entity_numbers
    figures = {
        "by_entity": measured(
            answers(
                index,
                truth,
                {entity: Query(entity=entity, limit=SHOWN, fold=False) for entity in named if entity in known},
            )
        ),
        "by_image": measured(answers(index, truth, image_queries(truth, index, sorted(held)))),
    }
    return {"calibrated_gap": largest_gap(figures["by_entity"]), **figures}

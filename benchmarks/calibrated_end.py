"""Searches that end: expected against found precision of what is shown, on entities that no encoder has seen.

    python benchmarks/calibrated_end.py runs/demo -o runs/calibrated-end

Indexes the demo's labelled pages and, without texts, all images of its held-out entities; asks for each entity by its
text, by its bare name, by one of its images and, where the labels name it, as an entity, and compares what the results
until .5, .8, .9 and .95 are expected to hold with the world's truth, which the index has not seen. Beside it: the flat
cut-off on cosines that finds most at the same precision, chosen with the truth in hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import openmofi
from openmofi.knowledge.texts import DEFAULT_TEMPLATE, entity_text
from openmofi.search import Example, Index, Query
from openmofi.search.rank.calibration import end_of

UNTIL = (0.5, 0.8, 0.9, 0.95)
SHOWN = 300


def truth_of(world: Path) -> tuple[dict[tuple[str, str], str], set[str]]:
    """(shard, key) → entity, and the held-out entities."""
    table = pq.read_table(world / "truth.parquet").to_pydict()
    truth = dict(zip(zip(table["shard"], table["key"], strict=True), table["entity"], strict=True))
    held = {entity for entity, split in zip(table["entity"], table["split"], strict=True)
            if split == "heldout_entities"}
    return truth, held


def asked(index: Index, kb: openmofi.KnowledgeBase, truth: dict[tuple[str, str], str], entities: list[str],
          kind: str) -> dict[str, Query]:
    """A query for each entity."""
    if kind == "label":
        return {entity: Query(entity=entity, limit=SHOWN, fold=False) for entity in entities
                if entity in index.state.entity_numbers}
    if kind != "image":
        texts = {entity: kb[entity].name if kind == "name" else entity_text(kb, kb.row(entity), DEFAULT_TEMPLATE)
                 for entity in entities}
        return {entity: Query(text=text, keywords=False, limit=SHOWN, fold=False) for entity, text in texts.items()}
    first: dict[str, int] = {}
    for hit in index.search(Query(limit=100_000, fold=False)).hits:
        first.setdefault(truth.get((hit.image.shard, hit.image.key), ""), hit.image.id)
    return {entity: Query((Example(first[entity]),), limit=SHOWN + 1, fold=False)
            for entity in entities if entity in first}


def measured(index: Index, truth: dict[tuple[str, str], str], queries: dict[str, Query]) -> dict[str, object]:
    """Figures of one kind of query."""
    right, cosine, probability, number = [], [], [], []
    wanted = dict.fromkeys(queries, 0)
    for entity in truth.values():
        if entity in wanted:
            wanted[entity] += 1
    for place, (entity, query) in enumerate(queries.items()):
        itself = query.examples[0].image if query.examples else -1
        hits = [hit for hit in index.search(query).hits if hit.image.id != itself]
        right.append([truth.get((hit.image.shard, hit.image.key)) == entity for hit in hits])
        cosine.append([hit.cosine or -1.0 for hit in hits])
        probability.append([hit.probability or 0.0 for hit in hits])
        number.append([place] * len(hits))
    total = sum(wanted.values()) - (len(queries) if any(query.examples for query in queries.values()) else 0)
    flat_right, flat_cosine = np.concatenate(right), np.concatenate(cosine)
    order = np.argsort(-flat_cosine, kind="stable")
    precision = np.cumsum(flat_right[order]) / np.arange(1, len(order) + 1)
    results: dict[str, object] = {"queries": len(queries), "right in all": total,
                                  "average precision by cosine": _average_precision(cosine, right),
                                  "average precision by probability": _average_precision(probability, right)}
    for until in UNTIL:
        ends = [end_of(np.array(each), until) for each in probability]
        shown = sum(ends)
        expected = sum(sum(each[:end]) for each, end in zip(probability, ends, strict=True))
        found = sum(sum(each[:end]) for each, end in zip(right, ends, strict=True))
        reached = np.flatnonzero(precision >= found / max(shown, 1))
        flat = int(flat_right[order][:reached[-1] + 1].sum()) if len(reached) and shown else 0
        results[f"until {until}"] = {
            "shown": shown, "queries with results": sum(end > 0 for end in ends),
            "expected precision": round(expected / max(shown, 1), 4),
            "found precision": round(found / max(shown, 1), 4),
            "gap": round((found - expected) / max(shown, 1), 4), "recall": round(found / total, 4),
            "recall of the best flat cut-off at the found precision": round(flat / total, 4)}
    return results


def _average_precision(scores: list[list[float]], right: list[list[bool]]) -> float:
    values = []
    for score, each in zip(scores, right, strict=True):
        ordered = np.array(each)[np.argsort(-np.array(score), kind="stable")]
        ranks = np.flatnonzero(ordered) + 1
        values.append(float((np.arange(1, len(ranks) + 1) / ranks).mean()) if len(ranks) else 0.0)
    return round(float(np.mean(values)), 4)


def main() -> None:
    """Build the index where it is missing, ask, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    demo, out = arguments.demo, arguments.out
    kb = openmofi.KnowledgeBase.open(demo / "kb")
    index = openmofi.build_index(
        [demo / "labels", demo / "labels-heldout", *sorted((demo / "world/retrieval").glob("*.tar"))],
        encoder=f"run:{demo / 'encoders/partial-labels'}", out=out / "index", kb=kb, entities="judged")
    truth, held = truth_of(demo / "world")
    results = {}
    for name, entities in (("held-out", sorted(held)), ("seen", sorted(set(truth.values()) - held - {""}))):
        for kind in ("label", "entity", "name", "image"):
            results[f"{name}, by {kind}"] = measured(index, truth, asked(index, kb, truth, entities, kind))
            print(name, kind, json.dumps(results[f"{name}, by {kind}"], indent=1), flush=True)
    (out / "calibrated-end.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())

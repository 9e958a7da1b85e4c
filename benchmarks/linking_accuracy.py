"""How often linkers rank the true entity of an ambiguous mention first, from the text alone, on a finished demo.

The reranker is trained on the texts of the demo's training pages, as by `openmofi link rerank`; judged are held-out
pages, and the same pages under systematic noise (`python -m studies.noisy`) where there are some. The truth is for
scoring alone. Intervals are paired, by bootstrap over texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from openmofi.bootstrap import bootstrap_interval, paired_bootstrap
from openmofi.knowledge import KnowledgeBase
from openmofi.linking import open_linker
from openmofi.mentions import MentionDetector, open_detector
from openmofi.pairs import read_pairs
from openmofi.schema import Mention
from openmofi.storage import Shard, expand_shards

Asked = list[tuple[str, list[Mention], list[tuple[int, str]]]]
"""Texts, their mentions, and of the ambiguous ones the position and the true entity."""


def accuracies(demo: Path, noisy: Path, captions: int, linkers: Sequence[str], reranker: Path) -> list[dict[str, Any]]:
    """Measure linkers and a reranker; trains it where `reranker` is not there.

    Returns:
        A row a world and linker: `accuracy`, its `interval`, `over_prior` and `over_prior_interval`, on `mentions` of
        `texts`.
    """
    kb = KnowledgeBase.open(demo / "kb")
    detector = open_detector("gazetteer", kb)
    if not reranker.exists():
        _train(demo, kb, detector, reranker)
    worlds = {"sample": demo / "world/pages/heldout_pages", "noisy": noisy / "all/pairs"}
    truth = {
        (row["shard"], row["key"]): row["entity"]
        for row in pq.read_table(demo / "world/truth.parquet", columns=["shard", "key", "entity"]).to_pylist()
    }
    rows = []
    for world, pages in worlds.items():
        if pages.exists():
            asked = _asked(expand_shards([str(pages)]), truth, kb, detector)[:captions]
            rows += _rows(world, asked, kb, [*linkers, f"reranker:{reranker}"])
    return rows


def _train(demo: Path, kb: KnowledgeBase, detector: MentionDetector, out: Path) -> None:
    from openmofi.plugins.reranker.examples import sure_examples
    from openmofi.plugins.reranker.linker import save_reranker
    from openmofi.plugins.reranker.minilm import train

    shards = expand_shards([str(demo / "world/pages/train")])
    save_reranker(out, *train(sure_examples((pair.text for one in shards for pair in read_pairs(one)), kb, detector)))


def _asked(
    shards: Sequence[Shard], truth: dict[tuple[str, str], str], kb: KnowledgeBase, detector: MentionDetector
) -> Asked:
    asked: Asked = []
    for shard in shards:
        pairs = [pair for pair in read_pairs(shard) if pair.text and truth.get((shard.name, pair.key))]
        for pair, mentions in zip(pairs, detector.detect([pair.text for pair in pairs]), strict=True):
            true = truth[shard.name, pair.key]
            candidates = [kb.ids(kb.candidates(mention.surface, 30).rows) for mention in mentions]
            meant = [(number, true) for number, ids in enumerate(candidates) if len(ids) > 1 and true in ids]
            if meant:
                asked.append((pair.text, mentions, meant))
    return asked


def _rows(world: str, asked: Asked, kb: KnowledgeBase, linkers: Sequence[str]) -> list[dict[str, Any]]:
    groups = [number for number, (_, _, meant) in enumerate(asked) for _ in meant]
    prior, rows = None, []
    for spec in linkers:
        links = open_linker(spec, kb).link([text for text, _, _ in asked], [mentions for _, mentions, _ in asked])
        right = np.array(
            [
                next(link.entity for link in of_text if link.mention == number) == true
                for of_text, (_, _, meant) in zip(links, asked, strict=True)
                for number, true in meant
            ]
        )
        prior = right if prior is None else prior
        gained = paired_bootstrap(right, prior, groups)
        rows.append(
            {
                "contender": f"{world}: {spec.partition(':')[0]}",
                "texts": len(asked),
                "mentions": len(right),
                "accuracy": float(right.mean()),
                "interval": bootstrap_interval(right, groups),
                "over_prior": gained.difference,
                "over_prior_interval": gained.difference_interval,
            }
        )
    return rows

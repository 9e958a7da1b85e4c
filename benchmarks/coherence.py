"""What coherence gains over the prior on a generated world whose relations and meanings are known.

Entities have topics; of their relations, a share leads to an entity of the same topic and the rest to hubs of the whole
world. Four entities of any topics share a word, commoner ones are meant more often. A text names five entities: some of
one topic, the rest of any. Priors are counted in other texts of the same kind; vectors are those that `kb build table`
makes of the relations. Accuracy is over held-out mentions whose name has several candidates, by the share of a text's
entities that are of its topic and the share of relations within topics: the world decides how much there is to gain,
so the rows say when coherence helps, and no row says how often real texts are so.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import harness

_A_WORD, _A_TEXT, _RELATIONS = 4, 5, 4


def weights(entities: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """How often entities are meant, by Zipf's law."""
    return draw.permutation(1.0 / np.arange(1, entities + 1) ** 0.7)


def texts(
    count: int, topic: NDArray[np.int64], weight: NDArray[np.float64], together: float, draw: np.random.Generator
) -> NDArray[np.int64]:
    """(count, 5) entities that texts mean."""
    drawn = draw.choice(len(weight), (count, _A_TEXT), p=weight / weight.sum())
    topics = draw.integers(0, topic.max() + 1, count)
    for each in np.unique(topics):
        members, rows = np.flatnonzero(topic == each), np.flatnonzero(topics == each)
        own = draw.choice(members, (len(rows), _A_TEXT), p=weight[members] / weight[members].sum())
        drawn[rows] = np.where(draw.random(own.shape) < together, own, drawn[rows])
    return drawn


def build(
    folder: Path,
    topic: NDArray[np.int64],
    word: NDArray[np.int64],
    weight: NDArray[np.float64],
    counted: NDArray[np.int64],
    within: float,
    draw: np.random.Generator,
) -> Path:
    """A base whose names are counted in texts."""
    from openmofi.knowledge import build_table
    from openmofi.schema import ENTITIES, NAMES, RELATIONS
    from openmofi.storage import write_table

    size = len(topic)
    ids = np.array([f"E{number}" for number in range(size)])
    source = folder / "source"
    write_table(
        source / "entities.parquet",
        pa.table(
            [ids, [f"thing {number}" for number in range(size)], [""] * size, [[]] * size, [0.0] * size],
            schema=ENTITIES,
        ),
    )
    counts = np.bincount(counted.ravel(), minlength=size) + 1.0
    write_table(source / "names.parquet", pa.table([[f"word{each}" for each in word], ids, counts], schema=NAMES))
    heads = np.repeat(np.arange(size), _RELATIONS)
    tails = draw.choice(size, len(heads), p=weight / weight.sum())
    order = np.argsort(topic, kind="stable")
    first, length = np.searchsorted(topic[order], topic[heads]), np.bincount(topic)[topic[heads]]
    own = order[first + (draw.random(len(heads)) * length).astype(np.int64)]
    tails = np.where(draw.random(len(heads)) < within, own, tails)
    write_table(
        source / "relations.parquet", pa.table([ids[heads], ["related"] * len(heads), ids[tails]], schema=RELATIONS)
    )
    build_table(source, folder / "kb")
    return folder / "kb"


def accuracy(linker: Any, meant: NDArray[np.int64], word: NDArray[np.int64]) -> tuple[float, int]:
    """Share of the ambiguous mentions whose best candidate is what is meant, and how many these are."""
    from openmofi.schema import Mention

    shared = np.bincount(word)[word] > 1
    written, mentions = [], []
    for row in meant.tolist():
        words, own, start = [f"word{word[entity]}" for entity in row], [], 0
        for each in words:
            own.append(Mention(start, start + len(each), each, "given"))
            start += len(each) + 1
        written.append(" ".join(words))
        mentions.append(own)
    right = total = 0
    for row, links in zip(meant.tolist(), linker.link(written, mentions), strict=True):
        best: dict[int, str] = {}
        for link in links:
            best.setdefault(link.mention, link.entity)
        for number, entity in enumerate(row):
            if shared[entity]:
                right, total = right + (best.get(number) == f"E{entity}"), total + 1
    return right / total, total


def measure(entities: int, held: int, together: float, within: float, seed: int) -> dict[str, Any]:
    """A row: accuracy of prior and coherence."""
    from openmofi.knowledge import KnowledgeBase
    from openmofi.linking import CoherenceLinker, PriorLinker

    draw = np.random.default_rng(seed)
    topic, word = draw.integers(0, entities // 100, entities), draw.integers(0, entities // _A_WORD, entities)
    weight = weights(entities, draw)
    with tempfile.TemporaryDirectory() as folder:
        kb = KnowledgeBase.open(
            build(Path(folder), topic, word, weight, texts(10 * entities, topic, weight, together, draw), within, draw)
        )
        meant = texts(held, topic, weight, together, draw)
        prior, mentions = accuracy(PriorLinker(kb), meant, word)
        coherence, _ = accuracy(CoherenceLinker(kb), meant, word)
    return {
        "of_the_topic": together,
        "relations_within": within,
        "mentions": mentions,
        "prior": prior,
        "coherence": coherence,
        "gain": coherence - prior,
    }


def main() -> None:
    """Measure and write `results/coherence.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=20_000)
    parser.add_argument("--held", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = [
        measure(arguments.entities, arguments.held, together, within, arguments.seed)
        for together, within in ((1.0, 0.8), (0.6, 0.8), (0.6, 0.4), (0.3, 0.8), (0.0, 0.8))
    ]
    for row in rows:
        print(row)
    harness.write_result(
        "coherence", rows, {f"gain_{row['of_the_topic']}_{row['relations_within']}": row["gain"] for row in rows}
    )


if __name__ == "__main__":
    main()

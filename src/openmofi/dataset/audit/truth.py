"""Labels beside the truth: judged entities of all pairs whose true entity is known, as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.dataset.tables import (
    Bools,
    Codebook,
    Codes,
    Floats,
    Folder,
    Ints,
    Judged,
    as_array,
    mention_column,
    run_starts,
)
from openmofi.errors import OpenMofiError
from openmofi.schema import TRUTH
from openmofi.storage import Shard, read_parquet

_NO_MENTION = -1


@dataclass(frozen=True)
class Against:
    """Judged entities against the truth.

    Attributes:
        known: the pairs of known truth, `read_truth`'s table.
        pair: (judged,) row of `known`.
        entity: (judged,) code of the entity.
        correct: (judged,) whether it is the pair's true entity.
        accepted, probability, link_score: (judged,) see `schema.JUDGEMENT`.
        chosen_by_text: (judged,) whether it is the best candidate of its mention by link score.
        detector: (judged,) code in `detectors`; -1 in a dataset, which keeps no mentions.
        rows: rows of the labels in the shards; `unmatched`: those that the truth does not know.
    """

    known: pa.Table
    pair: Ints
    entity: Codes
    correct: Bools
    accepted: Bools
    probability: Floats
    link_score: Floats
    chosen_by_text: Bools
    detector: Codes
    detectors: list[str]
    rows: int
    unmatched: int

    @property
    def named(self) -> Bools:
        """(known,) whether the text names the true entity."""
        return self.known["named"].to_numpy().astype(bool)

    def group(self, name: str) -> np.ndarray:
        """(known,) a column of the truth, `schema.TRUTH`, as an object array of strings."""
        return np.array([str(value).lower() if isinstance(value, bool) else value or ""
                         for value in self.known[name].to_pylist()], object)


def read_truth(path: str | Path, shards: list[str], split: str | None) -> pa.Table:
    """The rows of known truth in `shards` (of one `split`, if given), sorted by shard.

    Raises:
        OpenMofiError: the file cannot be read, knows none of the shards, or names a pair twice.
    """
    table = read_parquet(path, TRUTH, hint=f"A table of the truth has the columns {', '.join(TRUTH.names)}.")
    inside = table.filter(pc.is_in(table["shard"], pa.array(shards, pa.string())))
    if not len(inside):
        first = table["shard"][0].as_py() if len(table) else ""
        raise OpenMofiError(
            f"{path} knows none of the labelled shards: it has e.g. {first!r}, the labels "
            f"{shards[0]!r}.", "Give the truth of these pairs.")
    if len(inside.group_by(["shard", "key"]).aggregate([])) < len(inside):
        raise OpenMofiError(f"{path} names a pair twice (shard and key).", "Each pair has one row of truth.")
    if split is not None:
        inside = inside.filter(pc.equal(inside["split"], split))
        if not len(inside):
            raise OpenMofiError(f"{path} has no pair of the split {split!r} in the labelled shards.",
                                "Its splits are: " + ", ".join(sorted(set(table["split"].to_pylist()))) + ".")
    return inside.filter(pc.not_equal(inside["entity"], "")).sort_by("shard").combine_chunks()


def join(folder: Folder, truth: pa.Table) -> Against:
    """Join labels (or a dataset) with `read_truth`'s table on (shard, key)."""
    entities, detectors = Codebook(), Codebook()
    true = entities.encode(as_array(truth["entity"]))
    truth_shards = np.array(truth["shard"].to_pylist(), object)
    rows = unmatched = 0
    parts: list[tuple[np.ndarray, ...]] = []
    for shard in folder.shards:
        low, high = np.searchsorted(truth_shards, [shard.name, shard.name + "\0"])
        keys, columns = _read(folder, shard, entities, detectors)
        matches = pc.index_in(keys, value_set=as_array(truth["key"].slice(low, high - low)))
        pair = pc.fill_null(matches, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        rows, unmatched = rows + len(pair), unmatched + int((pair < 0).sum())
        pair = np.where(pair < 0, pair, pair + low)[columns[0]]
        parts.append((pair[pair >= 0], *(column[pair >= 0] for column in columns[1:])))
    pair, entity, accepted, probability, link, best, detector = (
        np.concatenate(column) for column in zip(*parts, strict=True))
    return Against(truth, pair, entity, entity == true[pair], accepted, probability, link, best, detector,
                   detectors.values, rows, unmatched)


def _read(folder: Folder, shard: Shard, entities: Codebook, detectors: Codebook) -> tuple[pa.Array, tuple]:
    """Keys of the rows, and (row, entity, accepted, probability, link score, best of its mention, detector)."""
    if folder.manifest.kind == "dataset":
        table = folder.read(shard, ["key", "entities", "scores"])
        lists = table["entities"].combine_chunks()
        row = pc.list_parent_indices(table["entities"]).to_numpy().astype(np.int64)
        score = pc.list_flatten(table["scores"]).to_numpy()
        code = entities.encode(pc.list_flatten(lists))
        yes, none = np.ones(len(row), bool), np.full(len(row), _NO_MENTION, np.int32)
        return as_array(table["key"]), (row, code, yes, score, np.zeros_like(score), ~yes, none)
    table = folder.read(shard, ["key", "mentions", "entities"])
    judged = Judged.of(table)
    of_mention = detectors.encode(mention_column(table, "detector"))
    order = np.lexsort((np.arange(len(judged.row)), -judged.prior, -judged.link_score, judged.mention))
    best = np.zeros(len(order), bool)
    best[order[run_starts(judged.mention[order])]] = True
    detector = of_mention[judged.mention] if len(order) else np.empty(0, np.int32)
    return as_array(table["key"]), (judged.row, entities.encode(judged.entity), judged.accepted, judged.probability,
                                    judged.link_score, best, detector)

"""Labels beside the truth: judged entities of all pairs whose true entities are known, as flat arrays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.arrays import Bools, Codes, Floats, Ints
from openmofi.dataset.tables import Codebook, Folder, Judged, as_array, mention_column, run_starts
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase, normalise
from openmofi.plugins.audit.truth_table import read_truth
from openmofi.storage import Shard

_NO_MENTION = -1
_EXAMPLES = 3
_NAMED = 3


@dataclass(frozen=True)
class Against:
    """Judged entities against the truth.

    Attributes:
        known: the pairs of known truth, one row each, with the columns of the truth.
        named: (known,) how many true entities the text names: all of them, where the truth does not say.
        pair: (judged,) row of `known`.
        entity: (judged,) code of the entity.
        correct: (judged,) whether it is one of the pair's true entities.
        recalled: (judged,) whether it is one that the text names.
        accepted, probability, link_score: (judged,) see `schema.JUDGEMENT`.
        chosen_by_text: (judged,) whether it is the best candidate of its mention by link score.
        detector: (judged,) code in `detectors`; -1 in a dataset, which keeps no mentions.
        kind: (judged,) code in `kinds` of the text that names it; -1 where texts have no kinds.
        rows: rows of the labels in the shards; `unmatched`: those that the truth does not know.
        keys_unmatched: pairs of the truth that the labels do not have; not counted for a dataset, which keeps a part.
        examples: a few of their keys.
        unknown_entities: entities of the truth that nothing knows.
        ids: identifiers of entities by their codes.
        true: (known,) codes of each pair's true entities.
    """

    known: pa.Table
    named: Ints
    pair: Ints
    entity: Codes
    correct: Bools
    recalled: Bools
    accepted: Bools
    probability: Floats
    link_score: Floats
    chosen_by_text: Bools
    detector: Codes
    detectors: list[str]
    kind: Codes
    kinds: list[str]
    rows: int
    unmatched: int
    keys_unmatched: int
    examples: tuple[str, ...]
    unknown_entities: tuple[str, ...]
    ids: list[str]
    true: list[list[int]]

    def group(self, name: str) -> np.ndarray:
        """(known,) a column of the truth, `schema.TRUTH`, as an object array of strings."""
        return np.array(
            [str(value).lower() if isinstance(value, bool) else value or "" for value in self.known[name].to_pylist()],
            object,
        )


@dataclass(frozen=True)
class _Pairs:
    """The pairs of a truth: their first rows, and the pair of each row of the truth."""

    table: pa.Table
    of_row: Ints

    @classmethod
    def of(cls, truth: pa.Table) -> _Pairs:
        key = truth["key"]
        if "shard" in truth.column_names:
            key = pc.binary_join_element_wise(truth["shard"], key, "\0")
        codes = as_array(key).dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
        first = np.unique(codes, return_index=True)[1]
        return cls(truth.take(pa.array(first)).combine_chunks(), codes)

    def rows_of(self, shard: str, keys: pa.Array) -> Ints:
        """The row of each key of a shard; −1 where the truth does not know it."""
        low, high = 0, len(self.table)
        if "shard" in self.table.column_names:
            low, high = np.searchsorted(np.array(self.table["shard"].to_pylist(), object), [shard, shard + "\0"])
        matches = pc.index_in(keys, value_set=as_array(self.table["key"].slice(low, high - low)))
        rows: Ints = pc.fill_null(matches, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return np.where(rows < 0, rows, rows + low)


def against(folder: Folder, truth: str | Path, split: str | None, kb: KnowledgeBase | None) -> Against:
    """Match labels (or a dataset) with a table of the truth, by shard and key, or by key alone.

    Raises:
        OpenMofiError: the truth cannot be read or matches nothing; a key without a shard is in two shards; see
            `entities.resolved`.
    """
    table = read_truth(truth, [shard.name for shard in folder.shards], split)
    pairs, entities, detectors, kinds = _Pairs.of(table), Codebook(), Codebook(), Codebook()
    shard_of = np.full(len(pairs.table), -1, np.int64)
    of_mentions = {"detector": detectors} | ({"kind": kinds} if folder.has_kinds else {})
    rows = unmatched = 0
    parts: list[tuple[np.ndarray, ...]] = []
    for number, shard in enumerate(folder.shards):
        keys, columns = _read(folder, shard, entities, of_mentions)
        pair = pairs.rows_of(shard.name, keys)
        rows, unmatched = rows + len(pair), unmatched + int((pair < 0).sum())
        _note_shards(folder, truth, pairs, shard_of, pair[pair >= 0], number)
        pair = pair[columns[0]]
        parts.append((pair[pair >= 0], *(column[pair >= 0] for column in columns[1:])))
    absent = pairs.table["key"].filter(pa.array(shard_of < 0)).to_pylist()
    if absent and len(absent) == len(pairs.table):
        raise _no_key_of(folder, truth, absent)
    pair, entity, accepted, probability, link, best, detector, kind = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    meant, unknown = _resolved(list(dict.fromkeys(table["entity"].to_pylist())), entities.values, folder, kb)
    true = entities.encode(pa.array([meant[value] for value in table["entity"].to_pylist()], pa.string()))
    says = table["named"].to_numpy().astype(bool) if "named" in table.column_names else np.ones(len(table), bool)
    facts, judged = pairs.of_row * len(entities) + true, pair * len(entities) + entity
    if len(np.unique(facts)) < len(facts):
        raise OpenMofiError(
            f"{truth} names an entity of a pair twice, by its identifier and by a name.",
            "Give each entity of a pair once.",
        )
    missing = [] if folder.manifest.kind == "dataset" else absent
    return Against(
        pairs.table,
        np.bincount(pairs.of_row[says], minlength=len(pairs.table)),
        pair,
        entity,
        np.isin(judged, facts),
        np.isin(judged, facts[says]),
        accepted,
        probability,
        link,
        best,
        detector,
        detectors.values,
        kind,
        kinds.values,
        rows,
        unmatched,
        len(missing),
        tuple(missing[:_EXAMPLES]),
        tuple(unknown),
        entities.values,
        _by_pair(pairs.of_row, true, len(pairs.table)),
    )


def _by_pair(pair: Ints, entity: Codes, count: int) -> list[list[int]]:
    """Return the entities of each of `count` pairs."""
    entities: list[list[int]] = [[] for _ in range(count)]
    for row, code in zip(pair.tolist(), entity.tolist(), strict=True):
        entities[row].append(code)
    return entities


def _no_key_of(folder: Folder, truth: str | Path, absent: list[str]) -> OpenMofiError:
    keys = folder.read(folder.shards[0], ["key"])["key"].to_pylist()
    return OpenMofiError(
        f"None of the {len(absent)} keys of {truth} is in {folder.path}: it has e.g. "
        f"{absent[0]!r}, the labels {next(iter(keys), '')!r}.",
        "Give the keys of these pairs.",
    )


def _note_shards(folder: Folder, truth: str | Path, pairs: _Pairs, shard_of: Ints, matched: Ints, number: int) -> None:
    """Note the shard in which each pair of the truth was; a key alone means one pair."""
    again = matched[(shard_of[matched] >= 0) & (shard_of[matched] != number)]
    if len(again):
        key = pairs.table["key"][int(again[0])].as_py()
        first = folder.shards[int(shard_of[again[0]])].name
        raise OpenMofiError(
            f"The key {key!r} of {truth} is in two shards: {first} and {folder.shards[number].name}.",
            "Add a column shard.",
        )
    shard_of[matched] = number


def _read(
    folder: Folder,
    shard: Shard,
    entities: Codebook,
    of_mentions: Mapping[str, Codebook],
) -> tuple[pa.Array, tuple]:
    """Keys of the rows, and (row, entity, accepted, probability, link score, best of its mention, detector, kind)."""
    if folder.manifest.kind == "dataset":
        table = folder.read(shard, ["key", "entities", "scores"])
        lists = table["entities"].combine_chunks()
        row = pc.list_parent_indices(table["entities"]).to_numpy().astype(np.int64)
        score = pc.list_flatten(table["scores"]).to_numpy()
        code = entities.encode(pc.list_flatten(lists))
        yes, none = np.ones(len(row), bool), np.full(len(row), _NO_MENTION, np.int32)
        return as_array(table["key"]), (row, code, yes, score, np.zeros_like(score), ~yes, none, none)
    table = folder.read(shard, ["key", "status", "mentions", "entities"])
    judged = Judged.of(table)
    order = np.lexsort((np.arange(len(judged.row)), -judged.prior, -judged.link_score, judged.mention))
    best = np.zeros(len(order), bool)
    best[order[run_starts(judged.mention[order])]] = True
    codes = {
        name: book.encode(mention_column(table, name).fill_null(""))[judged.mention]
        if len(order)
        else np.empty(0, np.int32)
        for name, book in of_mentions.items()
    }
    kind = codes.get("kind", np.full(len(order), _NO_MENTION, np.int32))
    return as_array(table["key"]), (
        judged.row,
        entities.encode(judged.entity),
        judged.accepted,
        judged.probability,
        judged.link_score,
        best,
        codes["detector"],
        kind,
    )


def _resolved(
    values: Sequence[str], judged: Sequence[str], folder: Folder, kb: KnowledgeBase | None
) -> tuple[dict[str, str], list[str]]:
    """Which entity each value means.

    Args:
        values: distinct ones of the truth.
        judged: identifiers of the entities that the labels judged.
        folder: the labels, or a dataset, whose vocabulary has names.
        kb: knows further identifiers and names.

    Returns:
        value → identifier; the values that mean nothing known, which stand for themselves.

    Raises:
        OpenMofiError: a name means several entities; or none of the values means any.
    """
    identifiers, names = set(judged), _names(folder)
    meant, unknown = {}, []
    for value in values:
        if value in identifiers or (kb is not None and kb.rows([value])[0] >= 0):
            meant[value] = value
            continue
        ids = names[normalise(value)] | (set(kb.ids(kb.candidates(value).rows)) if kb is not None else set())
        if len(ids) > 1:
            raise OpenMofiError(
                f"The name {value!r} in the truth means {len(ids)} entities: "
                f"{', '.join(sorted(ids)[:_NAMED])}{', …' if len(ids) > _NAMED else ''}.",
                "Write the identifier of the one that is meant.",
            )
        meant[value] = next(iter(ids), value)
        if not ids:
            unknown.append(value)
    if identifiers and values and len(unknown) == len(values):
        where = "the labels" if kb is None else "the labels or their knowledge base"
        raise OpenMofiError(
            f"None of the {len(values)} entities of the truth is known to {where}: it has e.g. "
            f"{values[0]!r}, the labels {judged[0]!r}.",
            "Write identifiers, or names and give the knowledge base with --kb.",
        )
    return meant, unknown


def _names(folder: Folder) -> defaultdict[str, set[str]]:
    """Look-up form of a class's name → identifiers; empty for labels."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    if folder.manifest.kind == "dataset":
        for entry in folder.vocabulary.select(["id", "name"]).to_pylist():
            names[normalise(entry["name"])].add(entry["id"])
    return names

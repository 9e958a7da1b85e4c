"""The tables of several sources as those of one: a function of what they hold, in whatever order they are given.

What a name means, and how often it is meant at all, is counted as if the sources' texts were one corpus. With the
weight w_b of source b, and c_b(n, e) and p_b(n) its count and its link probability:

- count(n, e) = Σ_b w_b · c_b(n, e), so that P(e | n) = Σ_b w_b · c_b(n, e) / Σ_b w_b · c_b(n);
- link probability(n) = Σ_b w_b · c_b(n) / Σ_b w_b · c_b(n) / p_b(n).

A name is of the languages that any source says; of every one where a source has it and knows none.

A built base keeps priors and no counts: its c_b(n, e) is P_b(e | n), so each base that knows a name has one vote,
times its weight.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.arrays import Doubles
from openmofi.errors import OpenMofiError, did_you_mean
from openmofi.knowledge.beside import EVERY
from openmofi.knowledge.builders.source import COLUMNS, SourceTables, read_source
from openmofi.knowledge.builders.staging import check_table
from openmofi.knowledge.builders.tables import FORMATS, Columns, ReadTable, read_columns, refusal
from openmofi.knowledge.names import normalise
from openmofi.schema import ENTITIES, LANGUAGES, NAMES, RELATIONS, SURFACES


def read_whole(source: str | Path) -> SourceTables:
    """Read the tables of a source as `build_table` does; entities' own names and aliases join its names.

    Raises:
        OpenMofiError: a table cannot be used; every problem is named.
    """
    if problems := check_table(source)["problems"]:
        raise OpenMofiError(
            problems[0] if len(problems) == 1 else "\n  ".join([f"{source} has {len(problems)} problems:", *problems])
        )
    read = read_source(source).tables
    tables = {
        name: rows_of(read[name], columns.schema) if name in read else columns.schema.empty_table()
        for name, columns in COLUMNS.items()
    }
    rows = tables["entities"].to_pylist()
    entities = pa.Table.from_pylist(
        [{**row, "types": [kind for kind in row["types"] if kind]} for row in rows], ENTITIES
    )
    names = tables["names"]
    listed = set(zip(map(normalise, names.column("name").to_pylist()), names.column("entity").to_pylist(), strict=True))
    own_names = {
        (key, row["id"]): name
        for row in reversed(rows)
        for name in reversed((row["name"], *row["aliases"]))
        if name and (key := normalise(name)) and (key, row["id"]) not in listed
    }
    added = [{"name": name, "entity": entity, "count": 1.0} for (_, entity), name in own_names.items()]
    return SourceTables(
        entities,
        pa.concat_tables([names, pa.Table.from_pylist(added, NAMES)]),
        tables["relations"],
        tables["surfaces"],
        tables["languages"],
    )


def rows_of(read: ReadTable, schema: pa.Schema) -> pa.Table:
    """Return all rows of a table that was read, in this schema."""
    return pa.concat_tables([schema.empty_table(), *read.blocks()])


SAME_AS = pa.schema([("id", pa.string()), ("same_as", pa.string())])
"""same_as: the entity that one base knows as `same_as` goes by `id` from now on."""

_COLUMNS = Columns(SAME_AS, {})


def read_same_as(path: str | Path) -> list[tuple[str, str]]:
    """Read the rows (identifier that is kept, identifier that goes) of a table in any of `FORMATS`.

    Raises:
        OpenMofiError: the file cannot be read or has an empty cell.
    """
    if Path(path).suffix not in FORMATS:
        raise OpenMofiError(
            f"{path} is no table.",
            f"Give a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file with the columns 'id' and 'same_as'.",
        )
    read = read_columns(Path(path), _COLUMNS)
    rows = rows_of(read, SAME_AS)
    pairs = list(zip(*(rows.column(name).to_pylist() for name in SAME_AS.names), strict=True))
    empty = [row for row, pair in enumerate(pairs) if not all(pair)]
    problems = list(read.problems)
    if empty:
        problems.append(read.problem(empty, "an identifier is empty", "Fill it or leave the row out."))
    if problems:
        raise refusal(str(path), problems)
    return pairs


def kept_ids(same_as: Iterable[tuple[str, str]], known: pa.Array, where: str = "The table") -> dict[str, str]:
    """Map each identifier that goes to the one that is finally kept.

    Args:
        same_as: rows as of `read_same_as`.
        known: all identifiers of the bases.
        where: names the table in errors.

    Raises:
        OpenMofiError: an identifier is unknown, goes to two others, or comes back to itself.
    """
    into: dict[str, str] = {}
    there = set(known.to_pylist())
    for survivor, gone in same_as:
        for each in (survivor, gone):
            if each not in there:
                raise OpenMofiError(
                    f"{where} names {each!r}, which is in none of the bases.{did_you_mean(each, there)}",
                    "Correct the identifier or leave the row out.",
                )
        if into.setdefault(gone, survivor) != survivor:
            raise OpenMofiError(
                f"{where} says of {gone!r} that it goes by {into[gone]!r} and by {survivor!r}.",
                f"Say which is kept: {survivor!r} same as {into[gone]!r}, or the other way round.",
            )
    return {gone: _followed(gone, into, where) for gone in into}


def _followed(gone: str, into: Mapping[str, str], where: str) -> str:
    passed = [gone]
    while (following := into.get(passed[-1])) is not None:
        if following in passed:
            circle = " → ".join(map(repr, [*passed[passed.index(following) :], following]))
            raise OpenMofiError(f"{where} goes round in a circle: {circle}.", "Remove one of these rows.")
        passed.append(following)
    return passed[-1]


CONFLICTS = pa.schema([("id", pa.string()), ("column", pa.string()), ("kept", pa.string()), ("other", pa.string())])
"""conflicts: a column of an entity that two sources know by one identifier, and of which they say different things."""

_LEAST = 1e-6
_LEAST_COUNT = 1e-30


@dataclass(frozen=True)
class Part:
    """A source of a union.

    Attributes:
        name: for messages.
        fingerprint: of its content; parts are taken in the order of these.
        tables: see there.
        weight: w_b above; positive.
    """

    name: str
    fingerprint: str
    tables: SourceTables
    weight: float = 1.0


@dataclass(frozen=True)
class United:
    """The united tables of several sources, as `unite` returns them.

    Attributes:
        tables: of the union.
        redirects: identifier that is gone → the one that it goes by.
        conflicts: `CONFLICTS`, by `id`.
        details, external_ids: tables as `openmofi.knowledge.beside` has them, or `None`.
    """

    tables: SourceTables
    redirects: dict[str, str]
    conflicts: pa.Table
    details: pa.Table | None = None
    external_ids: pa.Table | None = None


def unite(parts: Sequence[Part], same_as: Iterable[tuple[str, str]] = (), where: str = "The table") -> United:
    """Unite the tables of several sources.

    An entity is one where its identifier is the same, or `same_as` says so; then its types are all types that are said
    of it, its popularity the greatest, and its name and description those of the identifier that is kept, of the part
    with the greatest weight; of equal weights the longer description counts, then the order of the texts.

    Args:
        parts: at least one.
        same_as: rows as of `read_same_as`.
        where: names the rows in errors.

    Raises:
        OpenMofiError: see `kept_ids`.
    """
    parts = sorted(parts, key=lambda part: (part.fingerprint, part.weight))
    ids = pa.concat_arrays([part.tables.entities.column("id").combine_chunks() for part in parts])
    into = kept_ids(same_as, ids, where)
    entities, conflicts = _entities(parts, into)
    names, surfaces = _names(parts, into)
    return United(SourceTables(entities, names, _relations(parts, into), surfaces, _languages(parts)), into, conflicts)


def kept_of(ids: pa.ChunkedArray, into: Mapping[str, str]) -> pa.Array:
    """Replace each identifier by the one that is kept for it."""
    flat = ids.combine_chunks()
    flat = flat.combine_chunks() if isinstance(flat, pa.ChunkedArray) else flat
    if not into:
        return flat
    position = pc.index_in(flat, value_set=pa.array(list(into), pa.string()))
    return pc.coalesce(pa.array(list(into.values()), pa.string()).take(position), flat)


def _entities(parts: Sequence[Part], into: Mapping[str, str]) -> tuple[pa.Table, pa.Table]:
    """All entities, in the order of their first rows, and what the parts contradict each other in."""
    every = pa.concat_tables([part.tables.entities for part in parts]).combine_chunks()
    if not len(every):
        return every, CONFLICTS.empty_table()
    weights = np.repeat([part.weight for part in parts], [len(part.tables.entities) for part in parts])
    codes = kept_of(every.column("id"), into).dictionary_encode().indices.to_numpy(zero_copy_only=False)
    _, first, inverse, sizes = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
    several = np.flatnonzero(sizes[inverse] > 1)
    groups: dict[int, list[tuple[float, dict[str, Any]]]] = {}
    for row, entity in zip(several.tolist(), every.take(pa.array(several)).to_pylist(), strict=True):
        groups.setdefault(int(codes[row]), []).append((float(weights[row]), entity))
    conflicts: list[dict[str, str]] = []
    merged = [_merged(rows, into, conflicts) for rows in groups.values()]
    # The merged rows stand behind all others, and each is taken where its first row was.
    whole = pa.concat_tables([every, pa.Table.from_pylist(merged, ENTITIES)]).combine_chunks()
    source = np.arange(len(every))
    source[first[list(groups)]] = len(every) + np.arange(len(merged))
    taken = whole.take(pa.array(source[np.sort(first)]))
    return taken, pa.Table.from_pylist(sorted(conflicts, key=lambda row: (row["id"], row["column"])), CONFLICTS)


def _merged(
    rows: Sequence[tuple[float, dict[str, Any]]], into: Mapping[str, str], conflicts: list[dict[str, str]]
) -> dict[str, Any]:
    """Merge the rows of an entity into one; contradictions between rows of one identifier are noted."""
    entity_id = into.get(rows[0][1]["id"], rows[0][1]["id"])
    ordered = [
        row
        for _, row in sorted(
            rows,
            key=lambda pair: (
                pair[1]["id"] != entity_id,
                -pair[0],
                -len(pair[1]["description"]),
                pair[1]["name"],
                pair[1]["description"],
                pair[1]["types"],
                pair[1]["id"],
            ),
        )
    ]
    chosen = ordered[0]
    for column in ("name", "description"):
        others = sorted({row[column] for row in ordered[1:] if row["id"] == entity_id} - {chosen[column], ""})
        conflicts += [{"id": entity_id, "column": column, "kept": chosen[column], "other": other} for other in others]
    described = next((row["description"] for row in ordered if row["description"]), "")
    return {
        "id": entity_id,
        "name": chosen["name"],
        "description": described,
        "types": list(dict.fromkeys(kind for row in ordered for kind in row["types"])),
        "popularity": max(row["popularity"] for row in ordered),
    }


def _names(parts: Sequence[Part], into: Mapping[str, str]) -> tuple[pa.Table, pa.Table]:
    """Names with the sums of their weighted counts, and names with link probabilities where a part has any."""
    tables, linked = [], False
    for part in parts:
        names = part.tables.names
        counts = part.weight * names.column("count").to_numpy().astype(np.float64)
        occurred = counts / _link_probability(names, part.tables.surfaces)
        linked = linked or len(part.tables.surfaces) > 0
        tables.append(
            pa.table(
                {
                    "name": names.column("name").combine_chunks(),
                    "entity": kept_of(names.column("entity"), into),
                    "count": counts,
                    "occurred": occurred,
                }
            )
        )
    every = pa.concat_tables(tables)
    # In one thread, so that sums of floating-point numbers are the same each time.
    summed = every.group_by(["name", "entity"], use_threads=False).aggregate([("count", "sum")])
    names = pa.table(
        [
            summed.column("name"),
            summed.column("entity"),
            pc.cast(pc.max_element_wise(summed.column("count_sum"), _LEAST_COUNT), pa.float32()),
        ],
        schema=NAMES,
    )
    if not linked:
        return names, SURFACES.empty_table()
    by_name = every.group_by(["name"], use_threads=False).aggregate([("count", "sum"), ("occurred", "sum")])
    probability = pc.divide(by_name.column("count_sum"), by_name.column("occurred_sum"))
    return names, pa.table([by_name.column("name"), pc.cast(probability, pa.float32())], schema=SURFACES)


def _link_probability(names: pa.Table, surfaces: pa.Table) -> Doubles:
    """Of each row of names, as `candidates.tabulate` takes surfaces: its own, else the least of its key, else 1."""
    if not len(surfaces):
        return np.ones(len(names))
    given = dict(zip(surfaces.column("name").to_pylist(), surfaces.column("link_probability").to_pylist(), strict=True))
    of_key: dict[str, float] = {}
    for name, probability in given.items():
        key = normalise(name)
        of_key[key] = min(probability, of_key.get(key, 1.0))
    encoded = names.column("name").combine_chunks().dictionary_encode()
    distinct = np.array(
        [given[name] if name in given else of_key.get(normalise(name), 1.0) for name in encoded.dictionary.to_pylist()],
        np.float64,
    )
    return np.maximum(distinct[encoded.indices.to_numpy()], _LEAST)


def _relations(parts: Sequence[Part], into: Mapping[str, str]) -> pa.Table:
    """Return all relations once, without those that now relate an entity to itself."""
    tables = [
        pa.table(
            [
                kept_of(part.tables.relations.column("head"), into),
                part.tables.relations.column("relation"),
                kept_of(part.tables.relations.column("tail"), into),
            ],
            schema=RELATIONS,
        )
        for part in parts
    ]
    every = pa.concat_tables(tables)
    every = every.filter(pc.not_equal(every.column("head"), every.column("tail")))
    return every.group_by(RELATIONS.names, use_threads=False).aggregate([])


def _languages(parts: Sequence[Part]) -> pa.Table:
    """Return the languages of names, by name; with `EVERY` where a part has the name without any language."""
    rows, covered = set[tuple[str, str]](), list[set[str]]()
    for part in parts:
        names, codes = (part.tables.languages.column(column).to_pylist() for column in LANGUAGES.names)
        rows |= set(zip(names, codes, strict=True))
        covered.append(set(map(normalise, names)))
    anywhere = set().union(*covered)
    for part, covered_by_part in zip(parts, covered, strict=True) if anywhere else ():
        keys = set(map(normalise, part.tables.names.column("name").unique().to_pylist()))
        rows |= {(key, EVERY) for key in keys & anywhere - covered_by_part}
    return pa.table([list(column) for column in zip(*sorted(rows), strict=True)] or [[], []], schema=LANGUAGES)

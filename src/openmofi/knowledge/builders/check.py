"""What a source is understood to be, before a knowledge base is built of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from openmofi.knowledge.builders.source import COLUMNS, ReadSource, read_source, source_problems, with_own_names
from openmofi.knowledge.names import normalise


def check_table(source: str | Path) -> dict[str, Any]:
    """Read and check the tables of a source; nothing is built.

    Args:
        source: see `build_table`.

    Returns:
        `tables`: table → `file`, `rows`, `columns` (recognised), `defaults` (optional column that is not there → what
        stands in); `counts`: what it comes to, empty where there are problems; `problems` and `ignored`: sentences.
        Rows that repeat a name of an entity add their counts up; names without a letter or a digit are left out.

    Raises:
        OpenMofiError: there is no table of entities.
    """
    read = read_source(source)
    problems = source_problems(read)
    tables = {name: {"file": table.name, "rows": len(table.table), "columns": list(table.given),
                     "defaults": {column: default for column, default in COLUMNS[name].defaults.items()
                                  if table.given and column not in table.given}}
              for name, table in read.tables.items()}
    return {"tables": tables, "counts": {} if problems else _counts(read),
            "problems": [f"{problem.message} {problem.hint}" for problem in problems], "ignored": read.notes()}


def _counts(source: ReadSource) -> dict[str, int]:
    entities, given = source.table("entities"), source.table("names")
    names = with_own_names(given, entities)
    keys = [normalise(name) for name in names.column("name").to_pylist()]
    pairs = Counter(zip(keys, names.column("entity").to_pylist(), strict=True))
    meanings = Counter(key for key, _ in pairs if key)
    named = {entity for key, entity in pairs if key}
    relations = source.table("relations")
    related = {*relations.column("head").to_pylist(), *relations.column("tail").to_pylist()}
    display_names = Counter(map(normalise, entities.column("name").to_pylist()))
    surfaces = {normalise(name) for name in source.table("surfaces").column("name").to_pylist()}
    return {
        "entities": len(entities), "names": len(meanings),
        "own_names_and_aliases_added": len(names) - len(given),
        "rows_that_repeat_a_name": sum(count - 1 for key, count in pairs.items() if key[0]),
        "ambiguous_names": sum(count > 1 for count in meanings.values()),
        "names_without_letter_or_digit": keys.count(""),
        "entities_without_a_name": len(entities) - len(named),
        "entities_that_share_their_name": sum(count for count in display_names.values() if count > 1),
        "entities_without_a_description": pc.sum(pc.equal(entities.column("description"), "")).as_py() or 0,
        "relations": len(relations),
        "entities_without_a_relation": len(entities) - len(related),
        "surfaces_of_no_name": len(surfaces - set(meanings)),
    }

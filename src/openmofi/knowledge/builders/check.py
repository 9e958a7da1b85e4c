"""What a source is understood to be, before a knowledge base is built of it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from openmofi.knowledge.builders.source import COLUMNS, read_source
from openmofi.knowledge.builders.staging import Staged, staged
from openmofi.knowledge.files.database import JOINED, MEMORY, memory_bytes, number_of

_PAIRS = "SELECT key, row FROM name WHERE key <> '' UNION ALL SELECT key, row FROM added"
_KEYS = f"SELECT key, count(DISTINCT row) AS entities FROM ({_PAIRS}) GROUP BY key"
_COUNTS = {
    "names": f"SELECT count(*) FROM ({_KEYS})",
    "own_names_and_aliases_added": "SELECT count(*) FROM added",
    "rows_that_repeat_a_name": "SELECT count(*) - count(DISTINCT (key, row)) FROM name WHERE key <> ''",
    "ambiguous_names": f"SELECT count(*) FROM ({_KEYS}) WHERE entities > 1",
    "names_without_letter_or_digit": "SELECT count(*) FROM name WHERE key = ''",
    "entities_without_a_name": f"SELECT count(*) FROM entity WHERE row NOT IN (SELECT row FROM ({_PAIRS}))",
    "entities_that_share_their_name": """
        SELECT sum(entities) FROM (
            SELECT count(*) AS entities FROM own WHERE place = 0 GROUP BY key HAVING count(*) > 1)""",
    "entities_without_a_relation": """
        SELECT count(*) FROM entity WHERE row NOT IN (SELECT head FROM edge UNION SELECT tail FROM edge)""",
    "surfaces_of_no_name": f"SELECT count(DISTINCT key) FROM surface WHERE key NOT IN (SELECT key FROM ({_PAIRS}))",
}


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
    with TemporaryDirectory() as work, staged(read, Path(work), int(memory_bytes(MEMORY) * JOINED)) as checked:
        rows, problems = checked.rows, checked.problems
        counts = {} if problems else _counts(checked)
    tables = {
        name: {
            "file": table.name,
            "rows": rows[name],
            "columns": list(table.given),
            "defaults": {
                column: default
                for column, default in COLUMNS[name].defaults.items()
                if table.given and column not in table.given
            },
        }
        for name, table in read.tables.items()
    }
    return {
        "tables": tables,
        "counts": counts,
        "problems": [f"{problem.message} {problem.hint}" for problem in problems],
        "ignored": read.notes(),
    }


def _counts(checked: Staged) -> dict[str, int]:
    counts = {name: number_of(checked.connection, query) for name, query in _COUNTS.items()}
    return {
        "entities": checked.rows["entities"],
        "relations": checked.rows["relations"],
        "entities_without_a_description": checked.undescribed,
        **counts,
    }

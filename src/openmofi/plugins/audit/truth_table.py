"""A user's table of the truth: what each pair's image shows, as Parquet, CSV, TSV or JSON lines."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openmofi.errors import OpenMofiError
from openmofi.schema import TRUTH
from openmofi.storage import is_remote
from openmofi.storage.encodings import csv_reader, text_of

# Read are the dump of MediaInfo entities (an array with an entity a line, also packed) and what the API gives of single
# files (`wbgetentities`, `Special:EntityData/M123.json`). Statements of deprecated rank, and those without a value, are
# left out. A pair's key is the file's M-identifier.

DEPICTS = "P180"
_ENDINGS = (".json", ".json.gz", ".json.bz2")
_DEPICTS_HINT = "Give a dump of Commons' MediaInfo entities, or JSON of single files from its API."


def _commons_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Rows of the truth, a file a row: `key`, and `entity`, a list of identifiers."""
    count = 0
    try:
        for entity in _depicted_entities(path):
            if not isinstance(entity, dict) or not str(entity.get("id", "")).startswith("M"):
                continue
            count += 1
            if depicted := _depicted(entity):
                yield {"key": str(entity["id"]), "entity": depicted}
    except (EOFError, ValueError) as error:
        raise OpenMofiError(f"{path} is damaged after {count} files: {error}.", _DEPICTS_HINT) from error
    if not count:
        raise OpenMofiError(f"{path} holds no files of Wikimedia Commons.", _DEPICTS_HINT)


def _depicted_entities(path: Path) -> Iterator[Any]:
    opener: Any = gzip.open if path.suffix == ".gz" else bz2.open if path.suffix == ".bz2" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        first = next((line for line in lines if line.strip()), "")
        if first.strip() != "[":
            whole = json.loads(first + lines.read() or "null")
            records = whole.get("entities", whole) if isinstance(whole, dict) else whole
            yield from (
                records.values()
                if isinstance(records, dict) and "id" not in records
                else (records if isinstance(records, list) else [records])
            )
            return
        ended = False
        for line in lines:
            text = line.strip()
            if text == "]":
                ended = True
            elif text:
                yield json.loads(text.removesuffix(","))
        if not ended:
            raise EOFError("it is cut off")


def _depicted(entity: Mapping[str, Any]) -> list[str]:
    """Identifiers, each once."""
    statements = entity.get("statements") or entity.get("claims") or {}
    depicts = statements.get(DEPICTS, []) if isinstance(statements, dict) else []  # PHP writes an empty one as a list
    values = [
        statement.get("mainsnak", {}).get("datavalue", {}).get("value", {}).get("id")
        for statement in depicts
        if statement.get("rank") != "deprecated"
    ]
    return list(dict.fromkeys(value for value in values if value))


_REQUIRED = ("key", "entity")
_HINT = (
    "A table of the truth has the columns key and entity (an identifier or a name; several as a list or as rows), "
    "and may have shard, named, ambiguous, domain, split."
)
_YES_OR_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

Row = Mapping[str, Any]


def read_truth_table(path: str | Path) -> pa.Table:
    """The columns of `schema.TRUTH` that a table has; a row an entity, `""` where none is known.

    Args:
        path: `.csv` or `.tsv` (with a header), `.jsonl`; `.json`, `.json.gz` or `.json.bz2` of Wikimedia Commons, see
            `depicts`; else Parquet.

    Raises:
        OpenMofiError: it cannot be read, lacks the key or the entity, or a row holds something else; names the row.
    """
    try:
        of_commons = str(path).endswith(_ENDINGS)
        names, rows = (_REQUIRED, _commons_rows(Path(path))) if of_commons else _read(Path(path))
    except FileNotFoundError as error:
        hint = "It is read from a local disk: copy it here." if is_remote(path) else "Check the path."
        raise OpenMofiError(f"The truth {path} is missing.", hint) from error
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise OpenMofiError(f"{path} cannot be read: {reason}.", _HINT) from error
    if absent := [name for name in _REQUIRED if name not in names]:
        raise OpenMofiError(
            f"{path} cannot be read: it has no column {absent[0]!r} (it has: {', '.join(names)}).", _HINT
        )
    present = [name for name in TRUTH.names if name in names]
    columns: dict[str, list[Any]] = {name: [] for name in present}
    for number, row in enumerate(rows):
        where = f"row {number} of {path}"
        for entity in _entities(row.get("entity"), where):
            for name in present:
                columns[name].append(entity if name == "entity" else _value(name, row.get(name), where))
    return pa.table(columns, pa.schema([TRUTH.field(name) for name in present]))


def _read(path: Path) -> tuple[Sequence[str], Sequence[Row]]:
    """Names of the columns, and the rows."""
    if path.suffix in (".csv", ".tsv"):
        reader = csv_reader(path)
        return list(reader.fieldnames or ()), list(_whole(reader))
    if path.suffix in (".jsonl", ".ndjson"):
        records = [json.loads(line) for line in io.StringIO(text_of(path)) if line.strip()]
        if not all(isinstance(record, dict) for record in records):
            raise ValueError("a line is not a JSON object")
        return list(dict.fromkeys(name for record in records for name in record)), records
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        table = file.read(columns=[name for name in TRUTH.names if name in names])
    return names, table.to_pylist()


def _whole(reader: csv.DictReader[str]) -> Iterator[Row]:
    for row in reader:
        if None in row or None in row.values():
            raise ValueError(f"line {reader.line_num} has not as many values as the header")
        yield row


def _entities(value: Any, where: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(entity is None or isinstance(entity, str) for entity in values):
        raise OpenMofiError(f"The entity of {where} is {value!r}.", _HINT)
    return [entity for entity in values if entity] or [""]


def _value(name: str, value: Any, where: str) -> Any:
    if pa.types.is_boolean(TRUTH.field(name).type):
        answer = value if isinstance(value, bool) else _YES_OR_NO.get(str(value).strip().lower())
        if answer is None:
            raise OpenMofiError(
                f"The column {name} of {where} is {value!r}, neither yes nor no.", "Write true or false."
            )
        return answer
    if name in ("shard", "key") and (value in (None, "") or not isinstance(value, str | int)):
        raise OpenMofiError(f"The {name} of {where} is {value!r}.", "Give each row the pair's as text.")
    return str(value) if value is not None else ""


def read_truth(path: str | Path, shards: Sequence[str], split: str | None) -> pa.Table:
    """The rows of known truth in `shards` (of one `split`, if given), sorted by shard where the table names them.

    Raises:
        OpenMofiError: the file cannot be read, knows none of the shards, or names an entity of a pair twice.
    """
    table = read_truth_table(path)
    named = "shard" in table.column_names
    inside = table.filter(pc.is_in(table["shard"], pa.array(shards, pa.string()))) if named else table
    if not len(inside):
        first = table["shard"][0].as_py() if named and len(table) else ""
        raise OpenMofiError(
            f"{path} knows none of the labelled shards: it has e.g. {first!r}, the labels {shards[0]!r}.",
            "Give the truth of these pairs, or leave out the column shard.",
        )
    identity = [name for name in ("shard", "key", "entity") if name in table.column_names]
    if len(inside.group_by(identity).aggregate([])) < len(inside):
        raise OpenMofiError(
            f"{path} names a pair twice with the same entity ({', '.join(identity)}).",
            "Give each entity of a pair once.",
        )
    if split is not None:
        if "split" not in table.column_names:
            raise OpenMofiError(f"{path} has no column 'split'.", "Add it, or leave out --split.")
        inside = inside.filter(pc.equal(inside["split"], split))
        if not len(inside):
            raise OpenMofiError(
                f"{path} has no pair of the split {split!r} in the labelled shards.",
                "Its splits are: " + ", ".join(sorted(set(table["split"].to_pylist()))) + ".",
            )
    rows = inside.filter(pc.not_equal(inside["entity"], ""))
    return (rows.sort_by("shard") if named else rows).combine_chunks()

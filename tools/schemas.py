"""Makes `json_schemas.json` of what the tests' commands printed.

    mkdir seen && OPENMOFI_CHECK_JSON=$PWD/seen python -m pytest tests/cli tests/knowledge …
    python tools/schemas.py seen

Commands that were seen get a new schema, and keep the descriptions that they had; others stay as they are. A key is
`required` where every output of the command, of two or more, had it. Keys that are data, such as identifiers, are not
listed: the schema says what their values are. A command that prints several kinds of things has one of several.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openmofi.cli.main import commands

SCHEMAS = Path(__file__).parents[1] / "src/openmofi/cli/json_schemas.json"
_TYPES = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (type(None), "null"))
_MOST_KEYS = 60


def schema(values: list[Any], *, whole: bool = False) -> dict[str, Any]:
    """A schema that all values fit; of a `whole` output keys that all have are required. Figures may be unknown."""
    kinds = {_kind(value) for value in values}
    kinds |= {"null"} if "number" in kinds else set()
    groups: dict[str, list[Any]] = {}
    for value in values if whole else []:
        groups.setdefault(next(iter(value), "") if isinstance(value, dict) else "", []).append(value)
    if len(groups) > 1 and not any(map(_is_data, groups)):
        return {"anyOf": [schema(group, whole=True) for group in groups.values()]}
    made: dict[str, Any] = {"type": sorted(kinds - ({"integer"} if "number" in kinds else set()))}
    if len(made["type"]) == 1:
        made["type"] = made["type"][0]
    if mappings := [value for value in values if isinstance(value, dict)]:
        made |= _object(mappings, whole=whole)
    if items := [item for value in values if isinstance(value, list) for item in value]:
        made["items"] = schema(items)
    return made


def _kind(value: Any) -> str:
    if isinstance(value, dict | list):
        return "object" if isinstance(value, dict) else "array"
    return next(name for kind, name in _TYPES if isinstance(value, kind))


def _object(mappings: list[dict[str, Any]], *, whole: bool) -> dict[str, Any]:
    names = list(dict.fromkeys(name for mapping in mappings for name in mapping))
    shared = [name for name in names if all(name in mapping for mapping in mappings)]
    # Names that differ from output to output are data.
    if len(names) > _MOST_KEYS or (not shared and len(names) > 1) or any(map(_is_data, names)):
        values = [value for mapping in mappings for value in mapping.values()]
        return {"additionalProperties": schema(values)} if values else {}
    required = {"required": shared} if whole and len(mappings) > 1 and shared else {}
    return required | {
        "properties": {name: schema([mapping[name] for mapping in mappings if name in mapping]) for name in names}
    }


def _is_data(name: str) -> bool:
    return not re.fullmatch(r"[a-z_][a-z0-9_]*", name)


def with_descriptions(made: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The new schema with the descriptions of the old one, for the keys that both have."""
    kept = {"description": before["description"], **made} if "description" in before else made
    for part in ("properties",):
        for name, old in before.get(part, {}).items():
            if name in kept.get(part, {}):
                kept[part][name] = with_descriptions(kept[part][name], old)
    return kept


def outputs(folder: Path) -> Iterable[tuple[str, list[Any]]]:
    """Command → all that it printed; tests may call a part of the command line by itself, which is left out."""
    known, seen = {" ".join(name) for name, _ in commands()}, dict[str, list[Any]]()
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text("utf-8"))
        if record["command"] not in known:
            continue
        seen.setdefault(record["command"], []).append(record["value"])
    return sorted(seen.items())


def main(folder: Path) -> None:
    """See the module."""
    known: dict[str, Any] = json.loads(SCHEMAS.read_text("utf-8"))
    for command, values in outputs(folder):
        known[command] = with_descriptions(schema(values, whole=True), known.get(command, {}))
        print(f"{command}: of {len(values)} outputs")
    SCHEMAS.write_text(json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""`openmofi schema`: the published schemas (JSON Schema 2020-12) of what commands print with `--json`.

They are in `json_schemas.json`, by command.
"""

import json
import uuid
from functools import cache
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from openmofi.errors import UsageError


@cache
def _schemas() -> dict[str, Any]:
    return dict(json.loads(files(__package__).joinpath("json_schemas.json").read_text("utf-8")))


def schema_names() -> list[str]:
    """The commands that have a schema, such as `label` and `kb lookup`."""
    return list(_schemas())


def schema_of(name: str) -> dict[str, Any]:
    """The schema of a command's JSON.

    Raises:
        UsageError: no command of this name prints JSON.
    """
    schemas = _schemas()
    if name not in schemas:
        from openmofi.errors import did_you_mean

        raise UsageError(
            f"There is no schema {name!r}.{did_you_mean(name, schemas)}",
            "`openmofi schema` lists the commands that print JSON.",
        )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"openmofi {name} --json",
        **schemas[name],
    }


def check_printed(value: Any, record: str = "") -> None:
    """Refuse what differs from the schema of the command that runs, where that has one.

    Args:
        value: plain values.
        record: a folder, which gets the value in a file instead; `tools/schemas.py` makes schemas of such files.
    """
    name, plain = _running_command(), json.loads(json.dumps(value))
    if record and name:
        path = Path(record) / f"{uuid.uuid4().hex}.json"
        path.write_text(json.dumps({"command": name, "value": plain}), "utf-8")
    elif name in _schemas():
        from jsonschema import Draft202012Validator

        Draft202012Validator(schema_of(name)).validate(plain)


def _running_command() -> str:
    """`label`, `kb lookup` …; nothing outside of a command of `openmofi`, as in a study."""
    # Later versions of typer bring their own click.
    click: Any = import_module("typer._click.globals" if find_spec("typer._click") else "click")
    context = click.get_current_context(silent=True)
    names: list[str] = []
    while context is not None and context.parent is not None:
        names.insert(0, str(context.info_name))
        context = context.parent
    if names[:1] == ["eval"] and names[1:] not in ([], ["sources"], ["compare"]):
        return "eval PROTOCOL"
    return " ".join(names)

"""`DATASET_CARD.md`: how the dataset was made, its content and its limits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import jinja2

from openmofi.dataset.statistics import Statistics
from openmofi.dataset.tables import Folder
from openmofi.storage import Manifest, fingerprint, write_text

_MARKUP = re.compile(r"[\\`*\[\]~|]|(?<![^\W_])_|_(?![^\W_])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# Renderers make links of plain addresses, too.
_ADDRESSES = (("://", "&#58;//"), ("www.", "www&#46;"))


def markdown_text(value: object) -> str:
    """A value as text on one line of Markdown, also in a cell of a table.

    HTML, emphasis, code, links and the bars of tables lose their meaning; line breaks and control characters become
    spaces. Plain words and names in snake_case stay as they are.
    """
    line = "".join(_ENTITIES.get(character, character) if character.isprintable() else " " for character in str(value))
    text = _MARKUP.sub(lambda match: f"\\{match[0]}", line)
    for plain, escaped in _ADDRESSES:
        text = text.replace(plain, escaped)
    return text


def table_row(cells: Iterable[object]) -> str:
    """A row of a table."""
    return f"| {' | '.join(map(markdown_text, cells))} |"


_SHARDS_SHOWN = 3
_NOT_HTML = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029\x85"}


def write_card(dataset: Folder, labels: Manifest, statistics: Statistics, *, report: bool = True) -> None:
    """Write the card into the dataset folder; `report` says whether `report.html` is beside it."""
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters["text"] = markdown_text
    template = environment.from_string(files(__package__).joinpath("card.md.j2").read_text("utf-8"))
    write_text(
        f"{dataset.path}/DATASET_CARD.md",
        template.render(
            statistics=statistics,
            labels=labels,
            dataset=dataset.manifest,
            label_inputs=_inputs(labels),
            report=report,
            label_settings=_settings(labels),
            dataset_settings=_settings(dataset.manifest),
        ),
    )


def _inputs(manifest: Manifest) -> dict[str, str]:
    """What is not a shard by name; the shards, of which there may be thousands, as one."""
    shards = {shard["name"] for shard in manifest.settings.get("shards") or []}
    named = {name.lstrip("/"): mark for name, mark in sorted(manifest.inputs.items()) if name not in shards}
    used = {name: mark for name, mark in sorted(manifest.inputs.items()) if name in shards}
    return named | ({f"{len(used):,} shards of pairs": fingerprint(used)} if used else {})


def _settings(manifest: Manifest) -> str:
    shown: dict[str, Any] = dict(manifest.settings)
    shards = shown.get("shards") or []
    if len(shards) > _SHARDS_SHOWN:
        shown["shards"] = [*shards[:_SHARDS_SHOWN], f"… {len(shards)} in all"]
    # In a block of code: JSON has no line that begins with a fence, and no character that is read as HTML there.
    return json.dumps(shown, indent=2, sort_keys=True, ensure_ascii=False).translate(_NOT_HTML)

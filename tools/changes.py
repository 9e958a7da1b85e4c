"""Writes `src/openmofi/api/changes.pyi`: what the functions of the front door take as `**changes`, for type checkers.

    python tools/changes.py

It is made of the fields of their settings; a test compares it with them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openmofi
from openmofi.config.options import plain

STUB = Path(openmofi.__file__).parent / "api/changes.pyi"
HEAD = '''"""What the front door takes as `**changes`; made of the fields of settings by tools/changes.py."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from openmofi.config import Settings
'''


def stub() -> str:
    """Return a `TypedDict` for each function that has settings."""
    functions = [getattr(openmofi, name) for name in openmofi.__all__]
    return HEAD + "".join(typed(each) for each in functions if getattr(each, "__options__", {}))


def typed(function: Callable[..., Any]) -> str:
    """Return a `TypedDict` of the fields that a function offers, and of the sections above them."""
    options: dict[str, Any] = function.__options__  # type: ignore[attr-defined]
    sections = {part: None for option in options.values() for part in option.path.split(".")[:-1]}
    name = "".join(part.capitalize() for part in function.__name__.split("_"))
    lines = [f"\nclass {name}Changes(TypedDict, total=False):"]
    lines += [f"    {name}: {written(plain(option.kind))}" for name, option in options.items()]
    own = {each for each in inspect.signature(function).parameters if each not in options}
    lines += [f"    {section}: Mapping[str, Any] | Settings" for section in sections if section not in own]
    return "\n".join(lines) + "\n"


def written(annotation: Any) -> str:
    """Return an annotation as a stub has it; a list may stand for a tuple."""
    text = annotation.__name__ if isinstance(annotation, type) and "[" not in str(annotation) else str(annotation)
    return re.sub(r"tuple\[(\w+), \.\.\.\]", r"Sequence[\1]", text.replace("typing.", "").replace("'", '"'))


if __name__ == "__main__":
    STUB.write_text(stub(), "utf-8")

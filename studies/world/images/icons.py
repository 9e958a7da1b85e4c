"""Iconify's icon sets: `icons.json` of a package, each icon a body of SVG and its box."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError

EMOJI_SETS = ("noto", "noto-v1", "twemoji", "openmoji", "fluent-emoji", "fluent-emoji-flat", "emojione", "emojione-v1")
FLAG_SETS = ("circle-flags", "flagpack", "flag", "cif")
BRAND_SETS = ("logos", "devicon", "skill-icons", "vscode-icons", "material-icon-theme")

_DEFAULT_SIDE = 16
_INK = "#24292f"


def read_json(path: Path) -> Any:
    """A JSON file of a fetched package.

    Raises:
        OpenMofiError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Run: openmofi sample fetch") from error


@dataclass(frozen=True)
class IconSet:
    """An icon set.

    Attributes:
        name: Iconify's prefix.
        icons: icon name → its entry (`body`, optional `left`, `top`, `width`, `height`, `hidden`).
        aliases: other name → icon name; only those that change nothing in the artwork.
        chars: emoji code points (`"1f34e"`, joined by `-`) → icon name; empty where the set has no such table.
        size: default width and height.
    """

    name: str
    icons: dict[str, dict[str, Any]]
    aliases: dict[str, str] = field(default_factory=dict)
    chars: dict[str, str] = field(default_factory=dict)
    size: tuple[float, float] = (_DEFAULT_SIDE, _DEFAULT_SIDE)

    def svg(self, icon: str) -> str:
        """The icon as an SVG document; `currentColor` is a dark ink."""
        entry = self.icons[icon]
        box = (
            entry.get("left", 0),
            entry.get("top", 0),
            entry.get("width", self.size[0]),
            entry.get("height", self.size[1]),
        )
        body = entry["body"].replace("currentColor", _INK)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'width="{box[2]}" height="{box[3]}" viewBox="{" ".join(map(str, box))}">{body}</svg>'
        )


def open_set(sources: Path, name: str) -> IconSet:
    """Read the set `name` from the fetched packages.

    Raises:
        OpenMofiError: it was not fetched, or is damaged.
    """
    folder = sources / "@iconify-json" / name
    raw = read_json(folder / "icons.json")
    chars = folder / "chars.json"
    aliases = {
        alias: entry["parent"] for alias, entry in raw.get("aliases", {}).items() if set(entry) <= {"parent", "hidden"}
    }
    return IconSet(
        name,
        raw["icons"],
        aliases,
        read_json(chars) if chars.exists() else {},
        (raw.get("width", _DEFAULT_SIDE), raw.get("height", _DEFAULT_SIDE)),
    )

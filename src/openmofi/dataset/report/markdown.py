"""Text of data and users in Markdown files: shown as it is, never read as markup."""

from __future__ import annotations

import re
from collections.abc import Iterable

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

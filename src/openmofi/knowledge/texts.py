"""Texts of entities: a template, filled with an entity's name and description."""

from __future__ import annotations

from string import Formatter
from typing import TYPE_CHECKING

from openmofi.errors import UsageError

if TYPE_CHECKING:
    from openmofi.knowledge.store import KnowledgeBase

DEFAULT_TEMPLATE = "{name}: {description}"
"""By which a label job's encoder knows an entity."""
EVALUATION_TEMPLATES = ("{name}", DEFAULT_TEMPLATE)
"""Encoders are trained on names alone or on names with descriptions; the mean of both serves either."""
CAPTION_TEMPLATES = (
    "a photo of {name}",
    "an image of {name}, {description}",
    DEFAULT_TEMPLATE,
    "{name} ({type})",
    "a photo of {name}, a kind of {type}",
    "{description}",
)
"""Synthetic texts of reinforcement; a template is used for entities that have all its fields."""
_HINT = "Placeholders are {name} and {description}; at least one is needed."


def check_template(template: str) -> None:
    """Check that a template can be filled.

    Raises:
        UsageError: its braces do not pair, or it has another placeholder than `{name}` and `{description}`, or none.
    """
    try:
        placeholders = {field for _, field, _, _ in Formatter().parse(template) if field is not None}
    except ValueError as error:
        raise UsageError(f"template {template!r} is malformed: {error}.", _HINT) from error
    if unknown := sorted(placeholders - {"name", "description"}):
        raise UsageError(f"template {template!r} has the unknown placeholder {{{unknown[0]}}}.", _HINT)
    if not placeholders:
        raise UsageError(f"template {template!r} has no placeholder: all entities would have the same text.", _HINT)


def filled(template: str, name: str, description: str) -> str:
    """The text of an entity; no punctuation is left over at its ends where the description is empty."""
    return template.format(name=name, description=description).strip(" :,.-–")


def entity_text(kb: KnowledgeBase, row: int, template: str) -> str:
    """The text by which an encoder knows the entity at `row`."""
    entity = kb.entity(row)
    return filled(template, entity.name, entity.description)

"""Synthetic texts without a captioner: the accepted entities of an image, written into templates."""

from __future__ import annotations

from collections.abc import Sequence
from string import Formatter

import numpy as np
import pyarrow as pa

from openmofi.dataset.tables import Judged, mention_column
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.texts import CAPTION_TEMPLATES
from openmofi.schema import Entity


def accepted_entities(labels: pa.Table, kb: KnowledgeBase | None) -> list[list[Entity]]:
    """The entities that each row of a label table shows, the most probable first.

    Args:
        labels: has the columns `mentions` and `entities` of `schema.LABELS`.
        kb: gives names, descriptions and types; without it an entity has the name that its text uses.

    Raises:
        OpenMofiError: the knowledge base lacks one of them.
    """
    judged = Judged.of(labels)
    accepted = np.flatnonzero(judged.accepted)
    accepted = accepted[np.lexsort((accepted, -judged.probability[accepted], judged.row[accepted]))]
    ids = judged.entity.take(pa.array(accepted)).to_pylist()
    if kb is None:
        surfaces = mention_column(labels, "surface").take(pa.array(judged.mention[accepted])).to_pylist()
        entities = [Entity(entity, surface) for entity, surface in zip(ids, surfaces, strict=True)]
    else:
        rows = kb.rows(ids)
        if (rows < 0).any():
            raise OpenMofiError(
                f"The knowledge base {kb.path} lacks the entity {ids[int(np.argmin(rows))]} of the labels.",
                "Give the one that the pairs were labelled with.",
            )
        entities = [kb.entity(row) for row in rows.tolist()]
    of_rows: list[list[Entity]] = [[] for _ in range(len(labels))]
    for row, entity in zip(judged.row[accepted].tolist(), entities, strict=True):
        # Two mentions may mean one entity.
        if all(entity.id != other.id for other in of_rows[row]):
            of_rows[row].append(entity)
    return of_rows


def entity_captions(entities: Sequence[Entity], count: int, draw: np.random.Generator) -> list[str]:
    """Draw `count` texts about some of `entities`; they repeat only after all were drawn. Empty without entities."""
    texts = list(dict.fromkeys(text for entity in entities for text in _texts(entity)))
    if not texts:
        return []
    order = draw.permutation(len(texts))
    return [texts[order[number % len(texts)]] for number in range(count)]


def _texts(entity: Entity) -> list[str]:
    # The type "noun.animal" reads "animal".
    kind = entity.types[0].rpartition(".")[2].replace("_", " ") if entity.types else ""
    values = {"name": entity.name, "description": entity.description, "type": kind}
    return [
        template.format(**values)
        for template in CAPTION_TEMPLATES
        if all(values[field] for _, field, _, _ in Formatter().parse(template) if field)
    ]

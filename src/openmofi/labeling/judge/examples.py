"""A few labels of a shard, for people who watch a job."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.knowledge import KnowledgeBase
from openmofi.schema import LabelStatus

EXAMPLES = 3
_TEXT = 200


def examples_of(labels: pa.Table, kb: KnowledgeBase, most: int = EXAMPLES) -> list[dict[str, Any]]:
    """Labelled pairs, evenly spread over a table of labels: `key`, `text`, `name` and `probability` of the best label.

    Args:
        labels: `schema.LABELS`.
        kb: gives the names.
        most: so many pairs.
    """
    labelled = pc.indices_nonzero(pc.equal(labels["status"], str(LabelStatus.LABELLED))).to_numpy()
    if not len(labelled):
        return []
    rows = labelled[np.unique(np.linspace(0, len(labelled) - 1, most).astype(np.int64))]
    shown = []
    for row in labels.select(["key", "text", "entities"]).take(pa.array(rows)).to_pylist():
        best = max(
            (entity for entity in row["entities"] if entity["accepted"]),
            key=lambda entity: float(entity["probability"]),
        )
        shown.append(
            {
                "key": row["key"],
                "text": row["text"][:_TEXT],
                "name": kb[best["entity"]].name,
                "probability": float(best["probability"]),
            }
        )
    return shown

"""How likely an image shows an entity at all when its text names it, from the entity's types alone.

A prior for those who have no data of the entity yet (`depictability.toml`, with a reason for each type), never a gate:
images that show a rare exception outweigh it. Hypernyms are not looked at: a built knowledge base does not keep them,
and WordNet's lexicographer files are their coarse form.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from openmofi.knowledge.store import KnowledgeBase


@cache
def type_log_odds() -> dict[str, float]:
    """Type → prior log-odds, as in `depictability.toml`."""
    table = tomllib.loads(Path(__file__).with_name("depictability.toml").read_text("utf-8"))
    return {name: float(entry["log_odds"]) for name, entry in table.items()}


def depictability(kb: KnowledgeBase, rows: ArrayLike) -> NDArray[np.float32]:
    """Prior log-odds that an image shows an entity which its text names, relative to an entity of unknown type.

    Args:
        kb: the knowledge base.
        rows: (n,) entity rows.

    Returns:
        (n,) float32 natural log-odds: the largest of the entity's types that have a value, 0 where none has.
    """
    from pyarrow import compute as pc

    odds = type_log_odds()
    types = kb.types(rows)
    known = pc.index_in(types.flatten(), value_set=pa.array(list(odds))).to_numpy(zero_copy_only=False)
    entity = pc.list_parent_indices(types).to_numpy(zero_copy_only=False)
    held = ~np.isnan(known)
    prior = np.full(len(types), -np.inf, np.float32)
    np.maximum.at(prior, entity[held], np.array(list(odds.values()), np.float32)[known[held].astype(np.int64)])
    return np.where(np.isneginf(prior), np.float32(0), prior)

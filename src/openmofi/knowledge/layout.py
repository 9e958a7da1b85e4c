"""Which files a knowledge base has, and what its manifest says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmofi.knowledge import identifiers
from openmofi.knowledge.files import beside
from openmofi.knowledge.files.tries import MORE_TRIES, NAMES_MARISA, further_files
from openmofi.storage import Outputs

KIND = "knowledge_base"
ENTITIES_ARROW = "entities.arrow"
OFFSETS, ROWS = "candidates/offsets.npy", "candidates/rows.npy"
COMMONNESS, LINK_PROBABILITY = "candidates/commonness.npy", "candidates/link_probability.npy"
VECTORS = "vectors.npy"
FILES = (ENTITIES_ARROW, identifiers.ROWS, NAMES_MARISA, OFFSETS, ROWS, COMMONNESS, LINK_PROBABILITY, VECTORS)
"""What every base has, beside `IDS`; with many names there are more tries (`further_files`)."""
IDS = (identifiers.NUMBERS, identifiers.TRIE)
"""Of these a base has one."""
OUTPUTS = Outputs((*FILES, *IDS, MORE_TRIES, *beside.FILES, beside.ATTRIBUTION))
"""All files of a base."""
BATCH_ROWS = 1 << 16
"""Entities of a record batch, whose texts are 2 GiB at most; ten million entities are 153 of them."""
REBUILD = "Build it again, into a new folder: openmofi kb build table|wordnet|wikidata SOURCE -o FOLDER."


def file_sizes(folder: Path, ids: str, counts: Mapping[str, Any]) -> dict[str, int]:
    """File of a base → its bytes, for the manifest; `ids` is that of `IDS` which it has."""
    return {name: (folder / name).stat().st_size for name in sorted((*FILES, *further_files(counts), ids))}

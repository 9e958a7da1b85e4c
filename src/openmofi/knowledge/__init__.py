"""The knowledge base: entities, names, priors, relations, vectors; memory-mapped.

The names below are loaded when they are first used: a process that parses a dump needs a tenth of them.
"""

from typing import TYPE_CHECKING, Any

# Here already, since a module of this package has its name.
from openmofi.knowledge.projection import depictability

if TYPE_CHECKING:
    from openmofi.knowledge.builders.build import BuildSettings, build_table
    from openmofi.knowledge.builders.check import check_table
    from openmofi.knowledge.builders.wordnet import build_wordnet
    from openmofi.knowledge.candidates import Candidates
    from openmofi.knowledge.lookup import Neighbour, Relation
    from openmofi.knowledge.names import normalise
    from openmofi.knowledge.projection import ProjectionSettings
    from openmofi.knowledge.store import KnowledgeBase, look_up
    from openmofi.knowledge.union.build import union_kb
    from openmofi.knowledge.upkeep.diff import Differences, diff_kb, verify
    from openmofi.knowledge.upkeep.export import export_kb
    from openmofi.knowledge.upkeep.sample import read_ids, sample_entities

__all__ = [
    "BuildSettings",
    "Candidates",
    "Differences",
    "KnowledgeBase",
    "Neighbour",
    "ProjectionSettings",
    "Relation",
    "build_table",
    "build_wordnet",
    "check_table",
    "depictability",
    "diff_kb",
    "export_kb",
    "look_up",
    "normalise",
    "read_ids",
    "sample_entities",
    "union_kb",
    "verify",
]

_MODULES = {
    "BuildSettings": "builders.build",
    "Candidates": "candidates",
    "Differences": "upkeep.diff",
    "KnowledgeBase": "store",
    "Neighbour": "lookup",
    "ProjectionSettings": "projection",
    "Relation": "lookup",
    "build_table": "builders.build",
    "build_wordnet": "builders.wordnet",
    "check_table": "builders.check",
    "diff_kb": "upkeep.diff",
    "export_kb": "upkeep.export",
    "look_up": "store",
    "normalise": "names",
    "read_ids": "upkeep.sample",
    "sample_entities": "upkeep.sample",
    "union_kb": "union.build",
    "verify": "upkeep.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'openmofi.knowledge' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"openmofi.knowledge.{_MODULES[name]}"), name)
    globals()[name] = value
    return value

"""The knowledge base: entities, names, priors, relations, vectors; memory-mapped."""

from openmofi.knowledge.builders.build import BuildSettings, build_table
from openmofi.knowledge.builders.check import check_table
from openmofi.knowledge.builders.wordnet import build_wordnet
from openmofi.knowledge.depictability import depictability
from openmofi.knowledge.names import normalise
from openmofi.knowledge.projection import ProjectionSettings
from openmofi.knowledge.store import Candidates, KnowledgeBase, look_up, verify
from openmofi.knowledge.wikidata.build import WikidataSettings, build_wikidata

__all__ = [
    "BuildSettings", "Candidates", "KnowledgeBase", "ProjectionSettings", "WikidataSettings", "build_table",
    "build_wikidata", "build_wordnet", "check_table", "depictability", "look_up", "normalise", "verify",
]

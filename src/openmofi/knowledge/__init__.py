"""The knowledge base: entities, names, priors, relations, vectors; memory-mapped."""

from openmofi.knowledge.builders.build import BuildSettings, build_table
from openmofi.knowledge.builders.check import check_table
from openmofi.knowledge.builders.wordnet import build_wordnet
from openmofi.knowledge.candidates import Candidates
from openmofi.knowledge.depictability import depictability
from openmofi.knowledge.lookup import Neighbour, Relation
from openmofi.knowledge.names import normalise
from openmofi.knowledge.projection import ProjectionSettings
from openmofi.knowledge.starter.build import build_starter
from openmofi.knowledge.store import KnowledgeBase, look_up
from openmofi.knowledge.union.build import union_kb
from openmofi.knowledge.upkeep.diff import Differences, diff_kb
from openmofi.knowledge.upkeep.export import export_kb
from openmofi.knowledge.upkeep.sample import read_ids, sample_entities
from openmofi.knowledge.upkeep.update import update_kb
from openmofi.knowledge.upkeep.verify import verify
from openmofi.knowledge.wikidata.build import Extras, WikidataSettings, build_wikidata

__all__ = [
    "BuildSettings", "Candidates", "Differences", "Extras", "KnowledgeBase", "Neighbour", "ProjectionSettings",
    "Relation", "WikidataSettings", "build_starter", "build_table", "build_wikidata", "build_wordnet", "check_table",
    "depictability", "diff_kb", "export_kb", "look_up", "normalise", "read_ids", "sample_entities", "union_kb",
    "update_kb", "verify",
]

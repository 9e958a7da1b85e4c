from .projection import depictability as depictability
from .build_settings import BuildSettings as BuildSettings, ProjectionSettings as ProjectionSettings
from .builders.build import build_table as build_table
from .builders.staging import check_table as check_table
from .builders.wordnet import build_wordnet as build_wordnet
from .candidates import Candidates as Candidates
from .candidates import Neighbour as Neighbour, Relation as Relation
from .names import normalise as normalise
from .store import KnowledgeBase as KnowledgeBase, look_up as look_up
from .union.build import union_kb as union_kb
from .upkeep.diff import Differences as Differences, diff_kb as diff_kb
from .upkeep.export import export_kb as export_kb
from .upkeep.sample import read_ids as read_ids, sample_entities as sample_entities
from .upkeep.diff import verify as verify

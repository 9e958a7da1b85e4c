from .build_settings import (
    BuildSettings as BuildSettings,
    ProjectionSettings as ProjectionSettings,
    TableSettings as TableSettings,
)
from .builders.build import build_table as build_table
from .builders.staging import check_table as check_table
from .candidates import Candidates as Candidates, Neighbour as Neighbour, Relation as Relation
from .names import normalise as normalise
from .projection import depictability as depictability
from .store import KnowledgeBase as KnowledgeBase, verify as verify

"""Which entity a mention means, from the text alone: candidates and context coherence."""

from openmofi.linking.coherence import CoherenceLinker
from openmofi.linking.linkers import LINKERS, check_linker, open_linker
from openmofi.linking.prior import PriorLinker
from openmofi.linking.protocol import Linker
from openmofi.linking.settings import CoherenceSettings, LinkSettings

__all__ = [
    "LINKERS", "CoherenceLinker", "CoherenceSettings", "LinkSettings", "Linker", "PriorLinker", "check_linker",
    "open_linker",
]

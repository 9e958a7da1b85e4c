"""Which entity a mention means, from the text alone: candidates, context coherence, the fusion decoder."""

from openmofi.linking.coherence import CoherenceLinker
from openmofi.linking.link_settings import CoherenceSettings, LinkSettings
from openmofi.linking.linkers import LINKERS, check_linker, linker_fingerprint, open_linker
from openmofi.linking.prior import PriorLinker
from openmofi.linking.protocol import Linker

__all__ = [
    "LINKERS",
    "CoherenceLinker",
    "CoherenceSettings",
    "LinkSettings",
    "Linker",
    "PriorLinker",
    "check_linker",
    "linker_fingerprint",
    "open_linker",
]

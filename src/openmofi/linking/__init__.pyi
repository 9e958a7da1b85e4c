from .coherence import CoherenceLinker as CoherenceLinker
from .protocol import CoherenceSettings as CoherenceSettings, LinkSettings as LinkSettings
from .linkers import (
    LinkerKind as LinkerKind,
    check_linker as check_linker,
    linker_fingerprint as linker_fingerprint,
    linker_forms as linker_forms,
    open_linker as open_linker,
)
from .candidates import PriorLinker as PriorLinker
from .protocol import Linker as Linker

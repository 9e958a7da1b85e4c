"""The knowledge base: entities, names, priors, relations, vectors; memory-mapped.

Names are loaded when they are first used: a process that parses a dump needs a tenth of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

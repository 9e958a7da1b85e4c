"""Noisy image–text pairs in, an entity-labelled image dataset, encoders and a search out.

Names are loaded when they are first used: `import openmofi` loads neither PyTorch nor Arrow. `__init__.pyi` lists them.
"""

import lazy_loader

from openmofi.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Files: shards, manifests, atomic writes, fsspec paths. Knows nothing of what a row means."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Teachers' knowledge of a dataset, computed once, stored, replayed. Students are trained on it elsewhere."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

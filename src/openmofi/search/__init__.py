"""An index over one's own images: search by image, text and entity, recognition, and the review of labels."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Which entities an image shows: calibration, light heads, selection; joins the stages into the label job."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

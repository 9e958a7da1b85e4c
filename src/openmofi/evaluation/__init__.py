"""Evaluation of encoders and linkers: one file per protocol, each exact to its published definition."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

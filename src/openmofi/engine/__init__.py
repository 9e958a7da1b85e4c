"""Runs one stage over many shards: in this process, in processes, or by another package's engine. Knows no stage."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

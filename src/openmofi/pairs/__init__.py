"""Reads image–text pairs (tar shards, Parquet, folders with a table) and decodes images safely."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

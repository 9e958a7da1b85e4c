"""Runs one stage over many shards: in this process, in processes, on a Ray cluster. Knows no stage."""

from openmofi.engine.engines import LocalEngine, engine_named
from openmofi.engine.protocol import Engine, Progress, Quiet, WorkFactory

__all__ = ["Engine", "LocalEngine", "Progress", "Quiet", "WorkFactory", "engine_named"]

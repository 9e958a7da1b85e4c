"""Runs one stage over many shards: in this process, in processes, or by another package's engine. Knows no stage."""

from openmofi.engine.engines import engine_named
from openmofi.engine.loop import LocalEngine
from openmofi.engine.protocol import Engine, EngineKind, Job, Progress, Quiet, WorkFactory

__all__ = ["Engine", "EngineKind", "Job", "LocalEngine", "Progress", "Quiet", "WorkFactory", "engine_named"]

"""Runs one stage over many shards: in this process, in processes, on a Ray cluster. Knows no stage."""

from openmofi.engine.engines import engine_named
from openmofi.engine.loop import LocalEngine
from openmofi.engine.protocol import Engine, Job, Progress, Quiet, WorkFactory

__all__ = ["Engine", "Job", "LocalEngine", "Progress", "Quiet", "WorkFactory", "engine_named"]

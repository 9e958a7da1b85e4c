"""Engines by name."""

from __future__ import annotations

from openmofi.engine.cluster import RayEngine
from openmofi.engine.local import LocalEngine
from openmofi.engine.processes import ProcessEngine
from openmofi.engine.protocol import Engine
from openmofi.errors import UsageError


def engine_named(spec: str) -> Engine:
    """`local` (this process), `processes`, `processes:N`, `ray` or `ray:ADDRESS`.

    Raises:
        UsageError: `spec` is none of these.
    """
    name, _, option = spec.partition(":")
    if name == "local" and not option:
        return LocalEngine()
    if name == "processes" and (not option or option.isdigit()):
        return ProcessEngine(workers=int(option or 0))
    if name == "ray":
        return RayEngine(address=option or None)
    raise UsageError(f"Unknown engine {spec!r}.", "Use local, processes:N or ray[:ADDRESS].")

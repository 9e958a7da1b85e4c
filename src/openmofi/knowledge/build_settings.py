"""Settings of a knowledge base's build."""

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from openmofi.config import NonNegativeFloat, NonNegativeInt, PositiveInt, Settings


@dataclass(frozen=True)
class ProjectionSettings(Settings):
    """How the vectors are made. The defaults were chosen on WordNet's glosses (which name is a gloss about?).

    Attributes:
        dim: length of a vector; a multiple of 8.
        weights: w_0, w_1, …: of the entity's own random vector and of the entities 1, 2, … steps away.
        hub_exponent: β; negative, so that a hub with thousands of neighbours weighs little.
        seed: another seed gives other, equally good vectors.
    """

    dim: PositiveInt = 128
    weights: tuple[NonNegativeFloat, ...] = (0.3, 0.6, 1.0, 1.0, 1.0, 1.0)
    hub_exponent: Annotated[float, Meta(ge=-1, le=1)] = -0.25
    seed: NonNegativeInt = 0


@dataclass(frozen=True)
class BuildSettings(Settings):
    """How a knowledge base is built.

    Attributes:
        candidates: entities that a name keeps, at most.
        projection: How coherence vectors are made.
    """

    candidates: PositiveInt = 30
    projection: ProjectionSettings = field(default_factory=ProjectionSettings)

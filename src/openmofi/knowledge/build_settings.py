"""Settings of a knowledge base's build."""

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from openmofi.config import NonNegativeFloat, NonNegativeInt, PositiveInt, Settings
from openmofi.storage.encodings import check_encoding


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
class TableSettings(Settings):
    """How tables of entities are read.

    Attributes:
        id_column: column of the entities with their identifiers, where it is not called `id`.
        name_column: column with their names, where it is not called `name`.
        description_column: column with their descriptions, where it is not called `description`.
        types_column: column with their types, where it is not called `types`.
        popularity_column: column with their popularity, where it is not called `popularity`.
        aliases_column: column with their other names, where it is not called `aliases`.
        encoding: of CSV, TSV and JSON-lines tables, such as `cp1252`. Without it they are read as UTF-8, those with its
            byte-order mark as UTF-16, and those that are neither as Windows-1252, with a warning.
    """

    id_column: str = ""
    name_column: str = ""
    description_column: str = ""
    types_column: str = ""
    popularity_column: str = ""
    aliases_column: str = ""
    encoding: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_encoding(self.encoding)

    @property
    def columns(self) -> dict[str, str]:
        """The columns that are named: column of a source → that of the table."""
        named = {name: str(getattr(self, f"{name}_column")) for name in ENTITY_COLUMNS}
        return {name: column for name, column in named.items() if column}


ENTITY_COLUMNS = ("id", "name", "description", "types", "popularity", "aliases")


@dataclass(frozen=True)
class BuildSettings(Settings):
    """How a knowledge base is built.

    Attributes:
        candidates: entities that a name keeps, at most.
        projection: How coherence vectors are made.
        tables: Tables of entities.
    """

    candidates: PositiveInt = 30
    projection: ProjectionSettings = field(default_factory=ProjectionSettings)
    tables: TableSettings = field(default_factory=TableSettings)

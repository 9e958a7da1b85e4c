"""What an encoder does with each image that it is measured on, kept as a table; joined over seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openmofi.errors import OpenMofiError
from openmofi.plugins.benchmarks.by_t import difference_by_t, interval_by_t
from openmofi.storage import write_table

MAP, ZERO_SHOT = "map", "zero_shot"
METRICS = (MAP, ZERO_SHOT)
_GROUP, _FACTS = "entity", b"facts"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Values:
    """The values of a run, or of several seeds of one.

    Attributes:
        of: metric → (seeds, images): `map`, average precisions without the query (NaN without positives); `zero_shot`,
            1 where the answer is right, absent without a text side.
        entity: (images,) the entity of each.
        facts: of the run: `steps`, `pairs`, `epochs`, `cpu_seconds`.
    """

    of: Mapping[str, Floats]
    entity: NDArray[np.str_]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write those of a single run."""
        columns = {name: values[0] for name, values in self.of.items()}
        table = pa.table({_GROUP: self.entity.tolist(), **columns})
        write_table(path, table.replace_schema_metadata({_FACTS: json.dumps(dict(self.facts))}))

    @classmethod
    def read(cls, path: Path) -> Values:
        """What `write` wrote."""
        table = pq.read_table(path)
        of = {name: table[name].to_numpy()[None] for name in METRICS if name in table.column_names}
        return cls(of, np.array(table[_GROUP].to_pylist()), json.loads(table.schema.metadata[_FACTS]))

    @classmethod
    def joined(cls, runs: Sequence[Values]) -> Values:
        """The seeds of one run together.

        Raises:
            OpenMofiError: they were measured on different images.
        """
        first = runs[0]
        if any(not np.array_equal(run.entity, first.entity) or set(run.of) != set(first.of) for run in runs):
            raise OpenMofiError(
                "The runs of a study were measured on different images.", "Start the study again with another -o."
            )
        of = {name: np.concatenate([run.of[name] for run in runs]) for name in first.of}
        return cls(of, first.entity, first.facts)

    def mean(self, metric: str) -> float:
        """Over seeds and images."""
        return float(np.nanmean(self.of[metric]))

    def figures(self) -> dict[str, Any]:
        """JSON: of each metric the mean, its 95 % interval over seeds and entities, and the mean of each seed."""
        return {
            metric: {
                "mean": self.mean(metric),
                "interval": list(interval_by_t(values, self.entity)),
                "seeds": np.nanmean(values, axis=1).tolist(),
            }
            for metric, values in self.of.items()
        }

    def over(self, other: Values, metric: str) -> dict[str, Any]:
        """The difference to another run on the same images; see `openmofi.bootstrap.PairedDifference`."""
        return difference_by_t(self.of[metric], other.of[metric], self.entity).as_dict()

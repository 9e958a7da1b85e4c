"""Labels of finished jobs beside the truth: what a threshold accepts if it is low enough, and whether it is right."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openmofi.dataset.report.planned import selection_of
from openmofi.dataset.report.sample import LabelCandidates
from openmofi.dataset.tables import Folder
from openmofi.schema import TRUTH
from openmofi.storage import expand_shards, read_parquet

sys.path.append(str(Path(__file__).parents[1]))
from studies.noisy_world import NOISES, NoisyWorld
from studies.real import WORLDS
from studies.scoring import Truth, read_truth, truth_of_shard

HELDOUT = "world/pages/heldout_pages"


@dataclass(frozen=True)
class LabelledWorld:
    """A job whose truth is known.

    Attributes:
        name: says what it is of.
        labels: folder of the job.
        truth: reads what was seen; other rows are not drawn from.
    """

    name: str
    labels: Path
    truth: Callable[[], Sequence[Truth]]

    def candidates(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
        """(n,) probabilities, and whether each is right; what is in doubt is not. `None` where there is no such job."""
        if not (self.labels / "manifest.json").exists():
            return None
        folder, truth = Folder.open(self.labels, "labels"), self.truth()
        probability, right = list[float](), list[bool]()
        for shard in folder.shards:
            of_key, table = truth_of_shard(truth, shard.name), folder.read(shard, ["key", "mentions", "entities"])
            keys, eligible = table["key"].to_pylist(), LabelCandidates.eligible(table, selection_of(folder))
            listed = zip(eligible.row.tolist(), eligible.entity.to_pylist(), eligible.probability.tolist(), strict=True)
            for row, entity, value in listed:
                if keys[row] in of_key:
                    probability.append(value)
                    right.append(entity in of_key[keys[row]].right)
        return np.array(probability, np.float64), np.array(right, bool)


def labelled_worlds(demo: Path, tiny: Path, noisy: Path, noisy_demo: Path, real: Path) -> Iterator[LabelledWorld]:
    """All of them, also those that are not there.

    Args:
        demo: of `make world`.
        tiny: of `openmofi demo --tiny`.
        noisy: of `python -m studies.noisy`, on the held-out pages of `noisy_demo`.
        real: of `make real`.
    """
    for name, folder in (("sample world", "labels"), ("sample world, held-out pages", "labels-heldout")):
        yield LabelledWorld(name, demo / folder, lambda: _drawn(demo / "world/truth.parquet"))
    yield LabelledWorld("tiny demo", tiny / "labels", lambda: _drawn(tiny / "truth.parquet"))
    for noise in NOISES:
        yield LabelledWorld(f"noisy world, {noise}", noisy / noise / "default", lambda: _noisy(noisy_demo))
    for name, world in WORLDS.items():
        yield LabelledWorld(name, real / name / "default", partial(read_truth, world.truth))


def _drawn(path: Path) -> list[Truth]:
    rows = read_parquet(path, TRUTH, columns=["shard", "key", "entity"]).to_pylist()
    return [Truth(row["shard"], row["key"], frozenset({row["entity"]}), frozenset()) for row in rows if row["entity"]]


def _noisy(demo: Path) -> list[Truth]:
    return NoisyWorld.open(expand_shards([str(demo / HELDOUT)]), demo / "world").truth

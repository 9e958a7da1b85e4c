"""A dataset of two shards in tars and its truth by dictionaries, and a knowledge base with classes above classes."""

from typing import ClassVar

import pyarrow.parquet as pq
import pytest

from openmofi.dataset import DatasetSettings, build_dataset


class Above:
    """As far as this room asks: e0 is below odd and thing, and so on."""

    fingerprint = "fedcba9876543210"
    parents: ClassVar = {"odd": ["thing"], "even": ["thing"], "thing": []}

    def __contains__(self, entity):
        return True

    def ancestors(self, entity):
        if entity in self.parents:
            return self.parents[entity]
        return ["odd" if int(entity[1:]) % 2 else "even", "thing"]

    def __getitem__(self, entity):
        class Entity:
            name = entity.upper()

        return Entity


@pytest.fixture(scope="session")
def small(rows_of_world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    build_dataset(rows_of_world.labels, folder / "dataset", DatasetSettings(4, None, None), report=False)
    return folder / "dataset"


@pytest.fixture(scope="session")
def rows_of_world(tmp_path_factory):
    from ..conftest import make_world

    return make_world(tmp_path_factory.mktemp("exported"), shards=2, rows=24, entities=6, seed=4)


@pytest.fixture(scope="session")
def expected(small):
    """(shard, key) → text, classes, entities, scores."""
    return {
        (row["shard"], row["key"]): row
        for file in sorted((small / "images").glob("*.parquet"))
        for row in pq.read_table(file).to_pylist()
    }


@pytest.fixture(scope="session")
def plain_names(small):
    return pq.read_table(small / "vocabulary.parquet")["name"].to_pylist()


@pytest.fixture(scope="session")
def names(small):
    """As tools that tell classes by name need them: two entities have each of these names."""
    rows = pq.read_table(small / "vocabulary.parquet").to_pylist()
    return [f"{row['name']} ({row['id']})" for row in rows]


@pytest.fixture(scope="session")
def pixels(rows_of_world):
    """(shard, key) → encoded image."""
    from openmofi.pairs import read_pairs

    return {(shard.name, pair.key): pair.image for shard in rows_of_world.shards for pair in read_pairs(shard)}


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "home"))


@pytest.fixture
def above():
    return Above()

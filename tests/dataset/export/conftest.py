"""A dataset of two shards in tars and its truth by dictionaries, and a knowledge base with classes above classes."""

import io
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from openmofi.dataset import DatasetSettings, build_dataset
from openmofi.pairs import perceptual_hash
from openmofi.storage import Shard


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


@pytest.fixture
def pictured(tmp_path):
    """A dataset of three image files that a table names by absolute paths; path → bytes."""
    from ..conftest import draw, finish_labels, judgement, label_row

    lines, table, pictures = ["file_name,caption,Lizenz,artist"], [], {}
    mentions = [{"start": 0, "end": 1, "surface": "x", "detector": "x"}]
    for number in range(3):
        path = tmp_path / f"photos/{number}/a.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(data := draw(number + 1, np.random.default_rng(number)))
        pictures[path] = data
        lines.append(f"{path},x")
        hashed = perceptual_hash(Image.open(io.BytesIO(data)))
        table.append(
            label_row(str(path), "x", "labelled", mentions, [judgement("Q1", 0, 0.9, True, "accepted")], hashed)
        )
    (tmp_path / "photos/t.csv").write_text("\n".join(lines))
    finish_labels(tmp_path / "labels", {"t": table}, [Shard(str(tmp_path / "photos/t.csv"), "t")])
    build_dataset(tmp_path / "labels", tmp_path / "dataset", DatasetSettings(1, None, None), report=False)
    return tmp_path / "dataset", pictures

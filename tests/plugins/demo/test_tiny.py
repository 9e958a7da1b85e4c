"""What the tiny demo brings: whole, of the right size, and free of what may not be passed on. `make wheel` runs it."""

from collections import Counter

import pyarrow.parquet as pq

from openmofi.pairs import read_pairs
from openmofi.plugins.demo import FILES
from openmofi.plugins.demo.commands import AMBIGUOUS
from openmofi.storage import expand_shards


def table(name):
    return pq.read_table(FILES / f"{name}.parquet").to_pylist()


def test_every_page_has_an_image_a_text_and_a_truth_that_the_base_knows():
    [shard] = expand_shards([str(FILES / "pages.tar")])
    pairs = {pair.key: pair for pair in read_pairs(shard)}
    truth = {row["key"]: row for row in table("truth")}
    assert len(pairs) == 1000
    assert set(pairs) == set(truth)
    assert pairs[AMBIGUOUS].text == "All about church or bus stop"
    assert all(pair.image and pair.text is not None for pair in pairs.values())
    known = {row["id"] for row in table("kb/entities")}
    assert {row["entity"] for row in truth.values() if row["entity"]} <= known
    # A text that names what is shown does so by a name of the base, most often in one of its spellings.
    named = Counter(row["named"] for row in truth.values())
    assert named[True] > named[False]


def test_nothing_of_logos_flags_and_countries():
    kinds = {row["id"].partition(":")[0] for row in table("kb/entities")}
    assert kinds == {"emoji", "wn"}
    assert {row["domain"] for row in table("truth")}.isdisjoint({"brand", "country"})
    assert {row["entity"] for row in table("kb/names")} <= {row["id"] for row in table("kb/entities")}


def test_sizes_are_those_that_a_package_may_have():
    assert sum(path.stat().st_size for path in FILES.rglob("*") if path.is_file()) < 5_000_000
    assert "CC BY 4.0" in (FILES / "ATTRIBUTION.md").read_text("utf-8")

"""Where an image comes from goes along from the table of URLs to datasets of other tools, and to an index."""

import csv
import hashlib
import json

import pyarrow.parquet as pq
import pytest

import openmofi
from openmofi.pairs import read_pairs
from openmofi.pairs.log import PROVENANCE
from openmofi.search import Filters, Index, Query
from openmofi.storage import expand_shards


@pytest.fixture(scope="module")
def chain(web, small_world, small_encoder, tmp_path_factory):
    """A folder with `pairs` that were fetched, their `labels`, and the `dataset` of these."""
    folder = tmp_path_factory.mktemp("chain")
    pairs = [pair for shard in expand_shards([str(small_world.shards)])[:2] for pair in read_pairs(shard)]
    web.files |= {f"{number}": pair.image for number, pair in enumerate(pairs)}
    with open(folder / "urls.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["url", "text", "license", "creator"])
        rows.writerows(
            (f"{web.url}/file/{number}", pair.text, ("CC0-1.0", "CC-BY-4.0")[number % 2], f"artist {number}")
            for number, pair in enumerate(pairs)
        )
    settings = {"allow_private": True, "shard_size": 100, "progress": False}
    counts = openmofi.fetch(folder / "urls.csv", folder / "pairs", **settings)
    assert counts["failed_to_decode"] == counts["rows"] - counts["success"] == 5  # which the world has broken
    given = {"kb": small_world.kb, "encoder": small_encoder, "progress": False}
    labels = openmofi.label(folder / "pairs", out=folder / "labels", **given)
    assert labels.summary["rows_in"] == labels.summary["rows_out"] == counts["success"]
    assert labels.summary["accepted"] > 20
    openmofi.build_dataset(labels, out=folder / "dataset", min_images=2, kb=small_world.kb)
    return folder


def written(folder, format):
    if format in ("parquet", "huggingface"):
        return [row for path in sorted((folder / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    if format == "coco":
        return json.loads((folder / "annotations.json").read_text())["images"]
    return [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["parquet", "huggingface", "coco", "imagefolder"])
def test_exports_name_address_licence_creator_time_and_digest(chain, web, format, tmp_path):
    counts = openmofi.export_dataset(chain / "dataset", tmp_path / "out", format=format, progress=False)
    rows = written(tmp_path / "out", format)
    assert len(rows) == counts["images"] > 20
    for row in rows:
        number = int(row["url"].rpartition("/")[2])
        assert row["license"] == ("CC0-1.0", "CC-BY-4.0")[number % 2]
        assert row["creator"] == f"artist {number}"
        assert row["sha256"] == hashlib.sha256(web.files[str(number)]).hexdigest()
        assert row["fetched_at"].endswith("+00:00")
    if format == "huggingface":
        described = json.loads((tmp_path / "out/croissant.json").read_text())
        fields = {field["name"] for field in described["recordSet"][0]["field"]}
        assert {*PROVENANCE} < fields
        assert "`license`, `creator`" in (tmp_path / "out/README.md").read_text()


@pytest.mark.slow
def test_an_index_filters_by_the_licence_of_the_table(chain, small_encoder, tmp_path):
    openmofi.build_index(chain / "labels", encoder=small_encoder, out=tmp_path / "index", progress=False)
    index = Index.open(tmp_path / "index")
    hits = index.search(Query(filters=Filters(licence="cc0*"), limit=500)).hits
    assert len(hits) > 20
    assert {hit.image.columns["license"] for hit in hits} == {"CC0-1.0"}

"""How a text was read, on the small world's labels; searches over them through its trained encoder."""

import pytest
from served_world import served

import openmofi
from openmofi.search import Index, build


@pytest.fixture(scope="module")
def small_index(labelled, small_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "index"
    build([str(labelled)], openmofi.load_encoder(small_encoder), folder)
    return Index.open(folder)


@pytest.mark.slow
def test_mentions_and_candidates_are_those_of_the_labels(small_index, labelled):
    rows = {(row["shard"], row["key"]): row for row in openmofi.Labels.open(labelled).to_arrow().to_pylist()}
    with served(small_index) as client:
        checked = 0
        for image in client.post("/api/search", json={"limit": 20}).json()["hits"]:
            record = image["image"]
            row = rows[record["shard"], record["key"]]
            reading = client.get(f"/api/images/{record['id']}/reading").json()
            assert reading["text"] == row["text"]
            assert all(row["text"][each["start"] : each["end"]] == each["surface"] for each in reading["mentions"])
            assert {each["entity"]: each["probability"] for each in reading["candidates"]} == pytest.approx(
                {each["entity"]: each["probability"] for each in row["entities"]}
            )
            checked += len(reading["candidates"])
        assert checked > 10


def test_an_image_without_labels_says_so(reader):
    answer = reader.get("/api/images/1/reading")
    assert answer.status_code == 404
    assert "not of a folder of labels" in answer.json()["error"]

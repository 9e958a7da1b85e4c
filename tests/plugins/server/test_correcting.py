"""A reviewer's verdicts again, many taken back at once, entities that an image has no label for, labels as a file."""

import io

import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest

from openmofi.errors import OpenMofiError
from openmofi.plugins.server.settings import reviewer_of
from openmofi.review.verdicts import verdicts_of_table
from openmofi.schema import VERDICTS
from openmofi.search import Verdict
from openmofi.search.verdicts import precision, to_judge


def judged(client, key, value="y", **more):
    row = {"shard": "images", "key": key, "entity": f"c:{key.partition('-')[0]}", "verdict": value, **more}
    (kept,) = client.post("/api/verdicts", json=[row]).json()
    return kept


def history(client, **values):
    return client.get("/api/review/history", params=values).json()


def image_of(index, key):
    ((image,),) = index.connection.execute("SELECT id FROM images WHERE key = ?", (key,))
    return image


def test_a_reviewers_history_is_latest_first_and_comes_in_pages(index, client):
    judged(client, "red-0", who="ann")
    judged(client, "red-1", "n", who="bob")
    judged(client, "red-2", "n", who="ann", instead="c:blue")
    judged(client, "gone-1", who="ann")
    judged(client, "red-3", "u")
    gone, second, first = history(client, who="ann")
    assert (gone["image"], gone["entity"]["name"], gone["verdict"]["id"]) == (None, "c:gone", 4)
    assert (second["image"]["id"], second["instead"]["name"]) == (image_of(index, "red-2"), "blue")
    assert (first["image"]["key"], first["entity"]["name"], first["instead"]) == ("red-0", "red", None)
    assert history(client, who="ann", limit=1, offset=1) == [second]
    assert [each["verdict"]["key"] for each in history(client)] == ["red-3"]
    assert [each["key"] for each in client.get("/api/verdicts", params={"who": "bob"}).json()] == ["red-1"]
    assert [each["key"] for each in client.get("/api/verdicts", params={"limit": 2, "offset": 1}).json()] == [
        "gone-1",
        "red-2",
    ]
    client.delete(f"/api/verdicts/{second['verdict']['id']}")
    assert [each["verdict"]["key"] for each in history(client, who="ann")] == ["gone-1", "red-0"]


def test_many_are_taken_back_at_once(client):
    ids = [judged(client, f"red-{number}")["id"] for number in range(3)]
    assert client.post("/api/verdicts/undo", json=[ids[0], ids[2], 999]).status_code == 204
    assert [each["id"] for each in client.get("/api/verdicts").json()] == [ids[1]]
    assert client.post("/api/verdicts/undo", json=ids).status_code == 204
    assert client.get("/api/verdicts").json() == []
    assert client.post("/api/verdicts/undo", json=[]).status_code == 422
    assert client.post("/api/verdicts/undo", json=["x"]).status_code == 422


def test_what_was_said_of_an_image(index, client):
    image = image_of(index, "red-0")
    judged(client, "red-1")
    judged(client, "red-0")
    latest = judged(client, "red-0", "n", who="bob")
    other = judged(client, "red-0", entity="c:white")
    said = client.get(f"/api/images/{image}/verdicts").json()
    assert [each["id"] for each in said] == [other["id"], latest["id"], latest["id"] - 1]
    assert client.get("/api/images/999999/verdicts").status_code == 404


def test_an_entity_that_was_no_candidate_is_kept_and_counts_in_no_stratum(index, client):
    index.connection.execute("UPDATE sources SET labels = '/labels'")
    before = precision(index.connection)
    no_label = "SELECT key FROM images WHERE id NOT IN (SELECT image FROM labels WHERE entity = 'c:white') LIMIT 1"
    ((key,),) = index.connection.execute(no_label)
    judged(client, key, entity="c:white", who="ann")
    assert history(client, who="ann")[0]["entity"]["name"] == "white"
    (row,) = index.verdict_table().to_pylist()
    assert (row["entity"], row["probability"], row["stratum"]) == ("c:white", None, None)
    assert precision(index.connection) == before
    assert len(to_judge(index.connection, accepted=None, limit=100)) == 60


def test_the_label_job_leaves_out_what_was_no_candidate(labelled_verdicts):
    """Beside a verdict on a label."""
    verdicts = verdicts_of_table(labelled_verdicts, "v.parquet")
    assert [each.entity for each in verdicts.verdicts] == ["c:red"]


def test_the_label_job_leaves_out_what_an_agent_said(labelled_verdicts):
    (first,) = [row for row in labelled_verdicts.to_pylist() if row["stratum"] is not None]
    later = pa.Table.from_pylist([{**first, "verdict": "n", "who": reviewer_of("claude")}], VERDICTS)
    both = pa.concat_tables([labelled_verdicts, later])
    assert [each.verdict for each in verdicts_of_table(both, "v.parquet").verdicts] == ["y"]
    with pytest.raises(OpenMofiError, match="no verdict yes or no"):
        verdicts_of_table(later.replace_schema_metadata(both.schema.metadata), "v.parquet")


@pytest.fixture
def labelled_verdicts(index):
    from openmofi.search.store.database import set_meta, transaction
    from openmofi.search.verdicts import _HEADS

    index.connection.execute("UPDATE sources SET labels = '/labels'")
    with transaction(index.connection):
        heads = '{"/labels": {"labels": "l", "basis": "b", "encoder": "e", "kb": "k"}}'
        set_meta(index.connection, {_HEADS: heads})
    ((key,),) = index.connection.execute(
        "SELECT key FROM images JOIN labels ON image = images.id WHERE entity = 'c:red' AND accepted LIMIT 1"
    )
    said = [Verdict("images", key, "c:red", "y"), Verdict("images", key, "c:nothing", "y")]
    index.add_verdicts(said)
    return index.verdict_table()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_labels_of_chosen_images_are_a_file(index, client, kind):
    red = image_of(index, "red-0")
    bare = image_of(index, "blue-0")
    index.connection.execute("DELETE FROM labels WHERE image = ?", (bare,))
    index.connection.execute("UPDATE images SET file = ? WHERE id = ?", (b"/a/\xff.png", bare))
    judged(client, "red-0", "n")
    judged(client, "red-0", entity="c:grey")
    answer = client.post(f"/api/labels.{kind}", json=[bare, red, 999999, red])
    assert answer.headers["content-disposition"] == f'attachment; filename="labels.{kind}"'
    read = pq.read_table if kind == "parquet" else pv.read_csv
    rows = read(io.BytesIO(answer.content)).to_pylist()
    labels = index.image(red).labels
    assert [row["image"] for row in rows] == [bare] + [red] * (len(labels) + 1)
    assert (rows[0]["key"], rows[0]["file"]) == ("blue-0", "/a/?.png")
    assert not rows[0]["entity"]
    assert [(row["entity"], row["name"], row["accepted"]) for row in rows[1:-1]] == [
        (each.entity, each.name, each.accepted) for each in labels
    ]
    assert [row["probability"] for row in rows[1:-1]] == pytest.approx([each.probability for each in labels])
    assert {row["entity"]: row["verdict"] or None for row in rows[1:]} == {
        **{each.entity: None for each in labels},
        "c:red": "n",
        "c:grey": "y",
    }
    assert (rows[-1]["name"], rows[-1]["probability"]) == ("grey", None)
    assert client.post("/api/labels.xlsx", json=[red]).status_code == 422


def test_a_name_is_no_formula_to_a_spreadsheet(index, client):
    image = next(image for image in range(1, 100) if index.image(image).labels)
    entity = index.image(image).labels[0].entity
    before = index.connection.execute("SELECT name FROM entities WHERE id = ?", (entity,)).fetchone()[0]
    index.connection.execute("UPDATE entities SET name = '=HYPERLINK(1)' WHERE id = ?", (entity,))
    try:
        said = client.post("/api/labels.csv", json=[image]).text
        whole = pq.read_table(io.BytesIO(client.post("/api/labels.parquet", json=[image]).content))
    finally:
        index.connection.execute("UPDATE entities SET name = ? WHERE id = ?", (before, entity))
    assert "'=HYPERLINK(1)" in said
    assert '"=HYPERLINK' not in said
    assert "=HYPERLINK(1)" in whole["name"].to_pylist()

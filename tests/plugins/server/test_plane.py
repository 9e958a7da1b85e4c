"""The map over HTTP: columns of whole numbers, colours by types, areas with names."""

import pytest
from served_world import served


@pytest.fixture
def mapped(index):
    index.make_map()
    with served(index) as client:
        yield client


def test_the_map_is_columns_of_one_length(index, mapped):
    answer = mapped.get("/api/map")
    plane = answer.json()
    assert plane["images"] == index.vectors()[0].tolist()
    assert {len(plane[name]) for name in ("images", "x", "y", "type", "area")} == {30}
    for name, column in (("x", 0), ("y", 1)):
        values = index.map().places[:, column] * (-1 if name == "y" else 1)
        assert plane[name] == pytest.approx(((values + 1) / 2 * 65535).tolist(), abs=1)
    assert (plane["note"], plane["missing"]) == ("", 0)
    again = mapped.get("/api/map", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    index.remove(["images/red-0"])
    assert len(mapped.get("/api/map", headers={"If-None-Match": answer.headers["ETag"]}).json()["images"]) == 29
    assert mapped.get("/api/info").json()["map"] is True


def test_colours_are_the_types_of_most_images(index, mapped):
    index.connection.executemany("INSERT INTO types VALUES (?, ?)", [("c:red", "warm"), ("c:yellow", "warm")])
    plane = mapped.get("/api/map").json()
    # Of an entity's types that of most images counts, and what no image is left of has no colour.
    assert plane["types"] == [{"type": "colour", "images": 24}]
    assert sorted(set(plane["type"])) == [0, 2]
    labelled = {image for (image,) in index.connection.execute("SELECT image FROM labels WHERE accepted")}
    assert [code == 0 for code in plane["type"]] == [image in labelled for image in plane["images"]]
    assert sum(area["images"] for area in plane["areas"]) == 30
    assert {name for area in plane["areas"] for name in area["entities"]} == {
        "red",
        "green",
        "blue",
        "yellow",
        "grey",
        "white",
    }


def test_areas_are_numbered_anew_where_some_are_missing(index, mapped):
    before = mapped.get("/api/map").json()["area"]
    index.connection.execute("UPDATE map SET area = area * 10000000000")
    plane = mapped.get("/api/map").json()
    assert plane["area"] == before
    assert len(plane["areas"]) == len(set(before))


def test_without_a_map_the_answer_says_how_to_make_one(client):
    plane = client.get("/api/map").json()
    assert (plane["images"], plane["missing"]) == ([], 30)
    assert "openmofi index map" in plane["note"]


def test_chosen_images_come_in_their_order(mapped):
    found = mapped.post("/api/images", json=[3, 1, 999, 2])
    assert [each["id"] for each in found.json()] == [3, 1, 2]
    assert mapped.post("/api/images", json=[]).status_code == 422
    assert mapped.post("/api/images", json=[0]).status_code == 422

"""The map over HTTP: a summary, tiles in which every image lies once, colours by types, areas with names, lassos."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon
from served_world import served

from openmofi.plugins.map import tiles as tiling
from openmofi.plugins.map.tiles import packed, tiles_of, unpacked
from openmofi.plugins.server import plane as planes
from openmofi.plugins.server.plane import MapChosen, Plane, _inside
from openmofi.search import Index, Verdict
from openmofi.search.records import Changes
from openmofi.search.store.database import note_commit, transaction

COLUMNS = {
    "images": "<f8",
    "x": "<u2",
    "y": "<u2",
    "area": "<u2",
    "type": "<u1",
    "probability": "<u1",
    "verdict": "<u1",
}


@pytest.fixture
def mapped(index):
    index.make_map()
    with served(index) as client:
        yield client


def tile(client, plane, level, x, y):
    answer = client.get(f"/api/map/tiles/{level}/{x}/{y}", params={"state": plane["state"]})
    assert answer.status_code == 200
    count, read, at = len(answer.content) // 17, {}, 0
    for name, kind in COLUMNS.items():
        read[name] = np.frombuffer(answer.content, kind, count, at)
        at += read[name].nbytes
    assert at == len(answer.content)
    return read


def whole(client):
    """The summary, and the columns of all its tiles, by id, with places as the page computes them."""
    plane, parts = client.get("/api/map").json(), []
    for level, x, y, count in plane["tiles"]:
        part = tile(client, plane, level, x, y)
        assert len(part["images"]) == count
        side = 2 ** -min(level, plane["deepest"])
        part["x"], part["y"] = (x + part["x"] / 65536) * side, (y + part["y"] / 65536) * side
        parts.append(part)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}
    order = np.argsort(columns["images"])
    return plane, {name: column[order] for name, column in columns.items()}


def test_every_image_lies_once_where_it_is(index, mapped, monkeypatch):
    for cap in (tiling.CAP, 4):
        monkeypatch.setattr(tiling, "CAP", cap)
        index.make_map()
        plane, columns = whole(mapped)
        assert columns["images"].tolist() == index.vectors()[0].tolist()
        assert len(plane["tiles"]) > 5 * (cap == 4)
        assert max(count for *_, count in plane["tiles"]) <= cap
        places = index.map().places
        assert columns["x"] == pytest.approx((places[:, 0] + 1) / 2, abs=2e-5)
        assert columns["y"] == pytest.approx((1 - places[:, 1]) / 2, abs=2e-5)
        left, top, right, bottom = np.array(plane["bounds"]) / 65536
        assert (left, right) == pytest.approx((columns["x"].min(), columns["x"].max()), abs=4e-5)
        assert (top, bottom) == pytest.approx((columns["y"].min(), columns["y"].max()), abs=4e-5)
        assert (plane["images"], plane["note"], plane["missing"]) == (30, "", 0)


def test_another_commit_is_another_map(index, mapped):
    answer = mapped.get("/api/map")
    again = mapped.get("/api/map", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    before = answer.json()
    index.remove(["images/red-0"])
    assert mapped.get("/api/map", headers={"If-None-Match": answer.headers["ETag"]}).json()["images"] == 29
    stale = mapped.get("/api/map/tiles/0/0/0", params={"state": before["state"]})
    assert (stale.status_code, stale.json()["error"]) == (409, "The map has changed.")
    assert len(whole(mapped)[1]["images"]) == 29
    assert mapped.get("/api/info").json()["map"] is True


def test_another_index_at_the_same_address_is_not_taken_for_the_first(index, tmp_path):
    shutil.copytree(tmp_path / "index", tmp_path / "other")
    index.make_map()
    with closing(Index.open(tmp_path / "other")) as other:
        other.make_map(seed=1)
        commits = [each.connection.execute("SELECT id FROM commits").fetchall() for each in (index, other)]
        assert commits[0] == commits[1]
        with served(index) as client:
            summary = client.get("/api/map")
            tile = client.get("/api/map/tiles/0/0/0", params={"state": summary.json()["state"]})
        with served(other) as client:
            again = client.get("/api/map", headers={"If-None-Match": summary.headers["ETag"]})
            assert (again.status_code, again.json()["images"]) == (200, 30)
            known = {"If-None-Match": tile.headers["ETag"]}
            asked = {"params": {"state": again.json()["state"]}, "headers": known}
            answer = client.get("/api/map/tiles/0/0/0", **asked)
            assert answer.status_code == 200
            assert answer.content != tile.content
        # As where an index is built again, and has as many commits.
        other.connection.execute("UPDATE commits SET made = '2001-01-01T00:00:00Z'")
        kept = Plane()
        kept.answer(index.connection)
        assert kept.answer(other.connection) == Plane().answer(other.connection)


def test_tiles_are_answered_while_images_are_added(index, mapped, monkeypatch):
    before, connection = mapped.get("/api/map").json(), index.connection
    monkeypatch.setattr(planes, "_summary_of", lambda *_: 1 / 0)
    for image, table in ((3, "map WHERE image"), (4, "images WHERE id")):
        with transaction(connection):
            connection.execute(f"DELETE FROM {table} = ?", (image,))
            note_commit(connection, "add", Changes(added=1))
        left = tile(mapped, before, 0, 0, 0)["images"].tolist()
        assert image not in left
    assert len(left) == 28
    after = mapped.get("/api/map").json()
    assert (after["missing"], before["missing"]) == (1, 0)
    assert after | {"missing": 0} == before
    with transaction(connection):
        note_commit(connection, "calibrate", Changes())
    asked = {"params": {"state": before["state"]}}
    assert mapped.get("/api/map/tiles/0/0/0", **asked).status_code == 409
    monkeypatch.undo()
    assert mapped.get("/api/map").json()["images"] == 28


def test_an_entity_that_came_since_is_of_another_type(index, mapped):
    index.connection.execute("UPDATE labels SET accepted = 0 WHERE entity = 'c:white' OR image = 5")
    plane, before = whole(mapped)
    number = before["images"].tolist().index(5)
    index.connection.execute("DELETE FROM labels WHERE image = 5")
    index.connection.execute("INSERT INTO labels VALUES (5, 'c:white', 1, 1, 1)")
    after = whole(mapped)[1]
    assert (plane["state"], after["type"][number], after["probability"][number]) == (
        mapped.get("/api/map").json()["state"],
        len(plane["types"]),
        255,
    )


def test_tiles_do_not_wait_for_who_makes_a_summary(index, mapped):
    plane = Plane()
    state = plane.answer(index.connection).state
    plane._lock = None
    assert len(plane.tile(index.connection, state, 0, 0, 0)) == 30 * 17


def test_tiles_of_a_foreign_map_are_not_larger(index, mapped, monkeypatch):
    monkeypatch.setattr(planes, "CAP", 4)
    plane, columns = whole(mapped)
    assert [count for *_, count in plane["tiles"]] == [4]
    assert len(columns["images"]) == 4


@pytest.mark.parametrize(("column", "value"), [("x", "abc"), ("y", b"\xff"), ("area", "one"), ("tile", "none")])
def test_a_map_whose_numbers_are_none_is_called_damaged(index, mapped, column, value):
    plane = mapped.get("/api/map").json()
    index.connection.execute(f"UPDATE map SET {column} = ? WHERE image = 3", (value,))
    answers = [mapped.post("/api/map/places", json=[3])] if column in ("x", "y") else []
    if answers:
        answers.append(mapped.get("/api/map/tiles/0/0/0", params={"state": plane["state"]}))
    with transaction(index.connection):
        note_commit(index.connection, "calibrate", Changes())
    for answer in (*answers, mapped.get("/api/map")):
        assert answer.status_code == 404
        assert "The map of this index is damaged" in answer.json()["error"]
        assert "openmofi index map" in answer.json()["hint"]


def test_a_tile_is_kept_until_somebody_judges(index, mapped):
    asked = {"url": "/api/map/tiles/0/0/0", "params": {"state": mapped.get("/api/map").json()["state"]}}
    tag = mapped.get(**asked).headers["ETag"]
    assert mapped.get(**asked, headers={"If-None-Match": tag}).status_code == 304
    image = index.images([3])[0]
    given = index.add_verdicts([Verdict(image.shard, image.key, image.labels[0].entity, "n")])
    assert mapped.get(**asked, headers={"If-None-Match": tag}).status_code == 200
    verdicts = whole(mapped)[1]["verdict"]
    assert verdicts.tolist() == [0, 0, 2] + [0] * 27
    index.undo_verdict(given[0].id)
    assert not whole(mapped)[1]["verdict"].any()


def test_colours_are_the_types_of_most_images(index, mapped):
    index.connection.executemany("INSERT INTO types VALUES (?, ?)", [("c:red", "warm"), ("c:yellow", "warm")])
    plane, columns = whole(mapped)
    # Of an entity's types that of most images counts, and what no image is left of has no colour.
    assert plane["types"] == [{"type": "colour", "images": 24}]
    assert sorted(set(columns["type"].tolist())) == [0, 2]
    assert (plane["other"], plane["unlabelled"]) == (0, 6)
    labels = dict(
        index.connection.execute("SELECT image, max(probability) FROM labels WHERE accepted = 1 GROUP BY image")
    )
    images = columns["images"].tolist()
    assert [code == 0 for code in columns["type"]] == [image in labels for image in images]
    expected = [1 + round(254 * labels[image]) if image in labels else 0 for image in images]
    assert columns["probability"].tolist() == expected
    assert sum(area["images"] for area in plane["areas"]) == 30
    assert {name for area in plane["areas"] for name in area["entities"]} == {
        "red",
        "green",
        "blue",
        "yellow",
        "grey",
        "white",
    }
    for number, area in enumerate(plane["areas"]):
        inside = columns["area"] == number
        assert inside.sum() == area["images"]
        middle = np.array([columns["x"][inside].mean(), columns["y"][inside].mean()])
        assert (area["x"], area["y"]) == pytest.approx(tuple(middle * 65536), abs=3)


def test_areas_are_numbered_anew_where_some_are_missing(index, mapped):
    _, columns = whole(mapped)
    before = dict(zip(columns["images"].tolist(), columns["area"].tolist(), strict=True))
    index.connection.execute("UPDATE map SET area = area * 10000000000")
    index.remove(["images/red-0"])
    plane, columns = whole(mapped)
    after = dict(zip(columns["images"].tolist(), columns["area"].tolist(), strict=True))
    assert len(after) == 29
    assert after == {image: area for image, area in before.items() if image in after}
    assert len(plane["areas"]) == len(set(before.values()))
    chosen = mapped.post("/api/map/chosen", json={"area": 1}).json()
    assert chosen["images"] == columns["images"][columns["area"] == 1].tolist()


def test_a_lasso_chooses_what_lies_inside(index, mapped):
    images, places = index.map().images, index.map().places.astype(float)
    points = np.stack([(places[:, 0] + 1) / 2, (1 - places[:, 1]) / 2], 1) * 65536
    draw = np.random.default_rng(0)
    for _ in range(20):
        lasso = (draw.uniform(-0.2, 1.2, (7, 2)) * 65536).round(2)
        answer = mapped.post("/api/map/chosen", json={"lasso": lasso.tolist()}).json()
        assert answer["images"] == images[_inside(points, lasso)].tolist()
        assert answer["total"] == len(answer["images"])
    every = [[-1, -1], [65537, -1], [65537, 65537], [-1, 65537]]
    assert mapped.post("/api/map/chosen", json={"lasso": every}).json()["total"] == 30
    for wrong in ({"lasso": [[0, 0], [1, 1]]}, {"lasso": [[0, 1e9]] * 3}, {"lasso": [[0]] * 3}, {"area": -1}):
        assert mapped.post("/api/map/chosen", json=wrong).status_code == 422
    assert mapped.post("/api/map/chosen", json={"area": 1000}).json() == {"total": 0, "images": []}


def test_images_are_chosen_in_blocks(mapped, monkeypatch):
    monkeypatch.setattr(planes, "_ROWS", 4)
    for corners, count in (
        ([[-1, -1], [65537, -1], [65537, 65537], [-1, 65537]], 30),
        ([[-3, -3], [-2, -3], [-3, -2]], 0),
    ):
        assert mapped.post("/api/map/chosen", json={"lasso": corners}).json()["total"] == count


def test_lassos_cost_what_counts_cost(index):
    with served(index, rate=1) as client:
        assert [client.post("/api/map/chosen", json={"area": 0}).status_code for _ in range(2)] == [200, 429]


def test_two_lassos_are_worked_on_at_once_at_most(index, monkeypatch):
    at_once, most, lock = 0, 0, threading.Lock()

    def chosen(*_):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        with suppress(threading.BrokenBarrierError):
            three.wait(1)  # breaks where a third one does not come
        with lock:
            at_once -= 1
        return MapChosen(0, [])

    three = threading.Barrier(3)
    monkeypatch.setattr(Plane, "chosen", chosen)
    with served(index, rate=0) as client, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: client.post("/api/map/chosen", json={}).status_code, range(6)))
    assert (answers, most) == ([200] * 6, 2)


@given(st.integers(0, 10_000), st.integers(3, 12))
def test_inside_is_what_another_library_says(seed, count):
    draw = np.random.default_rng(seed)
    # A star-shaped polygon does not cross itself, so that all rules agree.
    angles = np.sort(draw.uniform(0, 2 * np.pi, count))
    corners = np.stack([np.cos(angles), np.sin(angles)], 1) * draw.uniform(0.2, 1, (count, 1))
    points = draw.uniform(-1, 1, (200, 2))
    assert _inside(points, corners).tolist() == Polygon(corners).contains_points(points).tolist()


def test_places_of_a_search_are_told(index, mapped):
    _, columns = whole(mapped)
    places = mapped.post("/api/map/places", json=[7, 3, 999]).json()
    assert places["images"] == [3, 7]
    assert np.array(places["x"]) / 65536 == pytest.approx(columns["x"][[2, 6]], abs=3e-5)
    assert np.array(places["y"]) / 65536 == pytest.approx(columns["y"][[2, 6]], abs=3e-5)


def test_without_a_map_the_answer_says_how_to_make_one(index, client):
    plane = client.get("/api/map").json()
    assert (plane["images"], plane["tiles"], plane["missing"]) == (0, [], 30)
    assert "openmofi index map" in plane["note"]
    assert tile(client, plane, 0, 0, 0)["images"].tolist() == []
    assert client.post("/api/map/chosen", json={"area": 0}).json()["total"] == 0
    assert client.post("/api/map/places", json=[1]).json()["images"] == []


def test_a_map_of_an_older_version_is_made_again(index, mapped):
    index.connection.execute("DROP TABLE map")
    index.connection.execute("CREATE TABLE map (image BIGINT PRIMARY KEY, x REAL, y REAL, area BIGINT)")
    index.connection.execute("DELETE FROM meta WHERE name = 'map_tiles'")
    index.remove(["images/red-0"])
    assert "older version" in mapped.get("/api/map").json()["note"]
    index.make_map()
    assert len(whole(mapped)[1]["images"]) == 29


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 400), st.integers(1, 9), st.sampled_from([1.0, 1e-4, 0.0]))
def test_tiles_are_what_a_plain_loop_makes(seed, count, cap, spread):
    places = np.random.default_rng(seed).uniform(-1, 1, (count, 2)) * spread
    whole_cap, tiling.CAP = tiling.CAP, cap
    try:
        keys = tiles_of(places)
    finally:
        tiling.CAP = whole_cap
    filled, expected = {}, []
    for x, y in places:
        level = 0
        while True:
            side = 2 ** min(level, tiling.DEEPEST)
            at = (level, min(int((x + 1) / 2 * side), side - 1), min(int((1 - y) / 2 * side), side - 1))
            if filled.setdefault(at, 0) < cap:
                break
            level += 1
        filled[at] += 1
        expected.append(at)
    assert [unpacked(key) for key in keys.tolist()] == expected
    assert [packed(*at) for at in expected] == keys.tolist()


def test_chosen_images_come_in_their_order(mapped):
    found = mapped.post("/api/images", json=[3, 1, 999, 2])
    assert [each["id"] for each in found.json()] == [3, 1, 2]
    assert mapped.post("/api/images", json=[]).status_code == 422
    assert mapped.post("/api/images", json=[0]).status_code == 422

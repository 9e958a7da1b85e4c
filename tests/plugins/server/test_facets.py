"""Facets over HTTP: each count is how many images a search finds that is narrowed by its value."""

import calendar
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest
from search_world import COLOURS, colour_encoder, coloured, write_colour_kb, write_table_of
from served_world import served

from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.server import routes
from openmofi.plugins.server.facets import Facets
from openmofi.search import Filters, Index, Query, Verdict, build


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Four images of each colour in folders and subfolders, with dates of two years, an album and labels."""
    folder = tmp_path_factory.mktemp("facets")
    rows = []
    for place, colour in enumerate(COLOURS):
        for number in range(4):
            name = f"{'even' if place % 2 else 'odd/deep'}/{colour}-{number}.png"
            (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "images" / name).write_bytes(coloured(colour, number))
            day = f"{2023 + number % 2}-0{number + 1}-1{place}" if number < 3 else ""
            album = ("First", "first", "Ärger" if place % 2 else "C*", "")[number]
            rows.append({"file_name": name, "text": f"a {colour} square", "date": day, "album": album, "title": name})
    write_table_of(folder / "images", rows)
    kb = KnowledgeBase.open(write_colour_kb(folder / "kb"))
    build([str(folder / "images")], colour_encoder(), folder / "index", kb=kb, entities="all")
    index = Index.open(folder / "index", colour_encoder())
    for record in index.images(range(1, len(rows) + 1)):
        colour = record.path.rpartition("/")[2].partition("-")[0]
        label = (record.id, f"c:{colour}", 0.55 + record.id / 60, record.id % 3 > 0)
        index.connection.execute("INSERT INTO labels VALUES (?, ?, ?, ?, .5)", label)
        other = (record.id, colour == "red")
        index.connection.execute("INSERT OR IGNORE INTO labels VALUES (?, 'c:grey', .3, ?, .5)", other)
    index.connection.execute("INSERT INTO types VALUES ('c:red', 'warm'), ('c:yellow', 'warm')")
    index.connection.execute("INSERT INTO supertypes VALUES ('c:blue', 'c:red')")
    shard = index.image(1).shard
    for key, verdict in ((1, "n"), (1, "y"), (2, "n"), (3, "u")):
        index.add_verdict(Verdict(shard, index.image(key).key, "c:red", verdict))
    return index


@pytest.fixture(scope="module")
def client(index):
    with served(index) as client:
        yield client


def narrowed(filters, name, value):
    if name == "date":
        year, _, month = value.partition("-")
        last = calendar.monthrange(int(year), int(month or 12))[1]
        return filters | {"since": f"{year}-{month or '01'}-01", "until": f"{year}-{month or '12'}-{last}"}
    if name.startswith("column."):
        return filters | {"columns": {**filters.get("columns", {}), name[7:]: value}}
    return filters | {name: float(value) if name == "min_probability" else value}


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"entity": "c:red"},
        {"type": "warm"},
        {"min_probability": 0.5},
        {"type": "colour", "min_probability": 0.8},
        {"since": "2024-01-01", "until": "2024-12-31"},
        {"columns": {"album": "first"}},
        {"verdict": "n"},
        {"entity": "c:blue"},
    ],
)
def test_each_count_is_what_its_filter_leaves(index, client, filters):
    facets = client.post("/api/facets", json={"filters": filters}).json()

    def left(given):
        return index.search(Query(filters=Filters(**given), fold=False)).total

    assert (facets["images"], facets["ranked"]) == (left(filters), False)
    counted = 0
    for name, values in facets["values"].items():
        for value in values:
            counted += 1
            assert value["images"] == left(narrowed(filters, name, value["value"])) > 0, (name, value)
    assert counted > 3
    assert not {"type", "entity", "verdict"} & set(filters) & set(facets["values"])


def test_what_there_is_to_narrow_by(client, index):
    values = client.post("/api/facets", json={}).json()["values"]
    said = {name: {each["name"]: each["images"] for each in some} for name, some in values.items()}
    root = index.image(1).path.rpartition("/odd/")[0]
    assert said["folder"] == {f"{root}/even": 12, f"{root}/odd": 12}
    assert said["date"] == {"2024": 6, "2023": 12}
    assert said["column.album"] == {"First": 12, "Ärger": 3}  # a star would be a pattern
    assert said["verdict"] == {"y": 1, "u": 1, "n": 1}
    assert said["entity"].keys() == set(COLOURS)
    assert "column.title" not in said  # no two share one
    inside = client.post("/api/facets", json={"filters": {"folder": f"{root}/odd", "until": "2023-12-31"}}).json()
    assert [each["value"] for each in inside["values"]["date"]] == ["2023-03", "2023-01"]
    assert "folder" not in inside["values"]  # all are in odd/deep


def test_of_a_ranking_what_is_likely_is_counted(index, client):
    results = index.search(Query(text="red"))
    facets = client.post("/api/facets", json={"text": "red"}).json()
    assert facets["ranked"]
    likely = results.hits if results.end is None else results.hits[: results.end]
    assert facets["images"] == sum(1 + len(hit.duplicates) for hit in likely)
    assert {each["value"] for each in facets["values"]["type"]} == {"colour", "warm"}


def test_of_a_ranking_without_anything_likely_nothing_is_counted(index, client, monkeypatch):
    unlikely = replace(index.search(Query(text="red")), end=0)
    monkeypatch.setattr(index, "search", lambda *_: unlikely)
    assert unlikely.hits
    assert client.post("/api/facets", json={"text": "red"}).json() == {"images": 0, "ranked": True, "values": {}}


def test_two_searches_are_counted_at_once_at_most(index, monkeypatch):
    at_once, most, lock = 0, 0, threading.Lock()

    def counted(*_):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        with suppress(threading.BrokenBarrierError):
            three.wait(1)  # breaks where a third one does not come
        with lock:
            at_once -= 1
        return Facets(0, False, {})

    three = threading.Barrier(3)
    monkeypatch.setattr(routes, "facets_of", counted)
    with served(index) as client, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: client.post("/api/facets", json={}).status_code, range(6)))
    assert (answers, most) == ([200] * 6, 2)


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_list_is_ordered_by_date_and_those_without_come_last(index, client, order):
    def dates(**filters):
        asked = {"order": order, "fold": False, "limit": 100, "filters": filters}
        hits = client.post("/api/search", json=asked).json()["hits"]
        return [hit["image"]["columns"].get("date", "") for hit in hits]

    dated = [date for date in dates() if date]
    assert dates() == sorted(dated, reverse=order == "newest") + [""] * 6
    some = dates(entity="c:yellow")
    assert 1 < len(some) < 5
    assert some == [date for date in dates() if date and date in some] + [""]

"""The API answers what the index answers, and keeps what reviewers say."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import msgspec
import pyarrow.parquet as pq
import pytest
from mounts import read_only
from PIL import Image
from search_world import COLOURS, coloured
from served_world import labelled_index, served

from openmofi.plugins.server import context
from openmofi.plugins.server.app import page_files
from openmofi.search import Example, Filters, Query, Region


def plain(value):
    """A record as it comes back from JSON, without what differs each time."""
    made = msgspec.json.decode(msgspec.json.encode(value))
    made.pop("seconds", None)
    return made


def searched(client, **body):
    answer = client.post("/api/search", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    found.pop("seconds")
    return found


def uploaded(client, data):
    answer = client.post("/api/uploads", content=data, headers={"Content-Type": "image/png"})
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("body", "query"),
    [
        ({}, Query()),
        ({"limit": 3, "offset": 2, "fold": False}, Query(limit=3, offset=2, fold=False)),
        ({"text": "a red square"}, Query(text="a red square")),
        ({"text": "red", "keywords": False, "until": 0.5}, Query(text="red", keywords=False, until=0.5)),
        ({"entity": "c:blue"}, Query(entity="c:blue")),
        ({"examples": [{"image": 1}, {"image": 8, "weight": -0.5}]}, Query((Example(1), Example(8, -0.5)))),
        ({"more": [1, 2], "less": [8]}, Query(like=(1, 2), unlike=(8,))),
        ({"examples": [{"image": 1, "region": {"left": 0.5}}]}, Query((Example(1, region=Region(left=0.5)),))),
        (
            {"filters": {"entity": "c:red", "min_probability": 0.9}},
            Query(filters=Filters("c:red", min_probability=0.9)),
        ),
    ],
)
def test_a_search_is_that_of_the_index(index, client, body, query):
    assert searched(client, **body) == plain(index.search(query))
    assert searched(client, **body)["hits"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"text":"red","limit":"3","fold":"no","until":1}',
        b'{"filters":null}',
        b'{"text":"red","text":"blue"}',
        b'{"more":["1",2.0],"less":[3]}',
        b'{"more":[true]}',
        b'{"limit":2.5}',
        b'{"filters":{"columns":{"a":1}}}',
        b'{"until":Infinity}',
        b'"red"',
        b"[]",
        b"null",
        b'{"text":"\\ud83d\\ude00"}',
        '{"text":"red"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"text":"red"}',
        b'{"entity":"c:nothing"}',
        b'{"examples":[{"image":1,"region":{"left":2}}]}',
    ],
)
def test_json_is_read_as_fastapi_reads_it(reader, body):
    """What is not plainly `application/json` goes FastAPI's own way."""
    answers = [
        reader.post("/api/search", content=body, headers={"Content-Type": kind, "X-Request-ID": "same"})
        for kind in ("application/json", "application/json; charset=utf-8")
    ]
    direct, ordinary = ({**answer.json(), "seconds": 0, "status": answer.status_code} for answer in answers)
    assert direct == ordinary


def test_an_upload_is_searched_with_like_its_bytes(index, client):
    data = coloured("blue", 77, other="green")
    upload = uploaded(client, data)
    assert (upload["width"], upload["height"]) == (64, 48)
    for region, part in ((None, None), ({"left": 0.5}, Region(left=0.5))):
        body = {"examples": [{"upload": upload["upload"], "region": region}], "fold": False}
        assert searched(client, **body) == plain(index.search(Query((Example(data, region=part),), fold=False)))
        answer = client.post("/api/recognise", json={"upload": upload["upload"], "region": region, "limit": 3}).json()
        assert answer == plain(index.recognise(data, part, 3))


def test_an_upload_is_decoded_once_for_all_pages(index, client, monkeypatch):
    data, asked = coloured("red", 78, other="blue"), []
    upload = uploaded(client, data)["upload"]
    decode = context.as_image
    monkeypatch.setattr(context, "as_image", lambda *given, **options: asked.append(1) or decode(*given, **options))
    for offset in (0, 2, 4):
        body = {"examples": [{"upload": upload}], "limit": 2, "offset": offset}
        assert searched(client, **body) == plain(index.search(Query((Example(data),), limit=2, offset=offset)))
    assert len(asked) == 1
    searched(client, examples=[{"upload": upload, "region": {"left": 0.5}}])
    assert len(asked) == 2


def test_an_unknown_entity_is_no_empty_list(client):
    for body in ({"entity": "c:gren"}, {"filters": {"entity": "c:gren"}}):
        answer = client.post("/api/search", json=body)
        assert answer.status_code == 404
        assert answer.json()["hint"].startswith("Did you mean green (c:green)"), body


def test_a_turned_upload_is_turned_once(index, client):
    """The decoder has applied its EXIF orientation; whoever gets it next must not do so again."""
    wide = Image.new("RGB", (64, 32), COLOURS["red"])
    wide.paste(COLOURS["blue"], (32, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    wide.save(out, "JPEG", quality=95, exif=exif)
    upload = uploaded(client, out.getvalue())
    assert (upload["width"], upload["height"]) == (32, 64)
    for top, colour in ((0.0, "red"), (0.5, "blue")):
        body = {"upload": upload["upload"], "region": {"top": top, "bottom": top + 0.5}, "limit": 1}
        assert client.post("/api/recognise", json=body).json()["entities"][0]["entity"]["name"] == colour


def test_images_as_they_lie_and_small(index, client):
    record = client.get("/api/images/3").json()
    assert record == plain(index.image(3))
    original = client.get("/api/images/3/original")
    assert original.content == index.image_bytes(3)
    assert original.headers["content-type"] == "image/png"
    assert original.headers["content-disposition"] == 'inline; filename="image-3.png"'
    thumbnail = client.get("/api/images/3/thumbnail")
    assert Image.open(io.BytesIO(thumbnail.content)).format == "WEBP"
    again = client.get("/api/images/3/thumbnail", headers={"If-None-Match": thumbnail.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", thumbnail.headers["etag"])
    assert thumbnail.headers["cache-control"] == "private, max-age=60"
    for content, kept in ((record["content"], True), ("another", False)):
        answer = client.get("/api/images/3/thumbnail", params={"of": content})
        assert answer.content == thumbnail.content
        assert ("immutable" in answer.headers["cache-control"]) == kept
    assert client.get("/api/images/3/recognise", params={"region": "0,0,0.5,1", "limit": 2}).json() == plain(
        index.recognise(3, Region(right=0.5), 2)
    )


@pytest.mark.parametrize("content", ["", 'a", "b', "a\r\nX-Other: 1"])
def test_content_that_is_no_digits_names_nothing_that_could_be_kept(index, client, monkeypatch, content):
    damaged = replace(index.image(3), content=content)
    monkeypatch.setattr(context.Context, "image", lambda *_: damaged)
    monkeypatch.setattr(index, "thumbnail", lambda _: b"small")
    for kind, params in (("thumbnail", {"of": content}), ("thumbnail", {}), ("original", {})):
        answer = client.get(f"/api/images/3/{kind}", params=params, headers={"If-None-Match": '"", "-t"'})
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "private, max-age=60")
        assert not {"etag", "x-other"} & set(answer.headers)


def test_an_image_that_is_gone_is_said_to_be(tmp_path):
    index = labelled_index(tmp_path)
    (tmp_path / "images" / "blue-0.png").unlink()
    with served(index) as client:
        answer = client.get("/api/images/1/original")
        assert answer.status_code == 404
        assert "blue-0.png" in answer.json()["error"]
        assert client.get("/api/images/1/thumbnail").status_code == 200


def test_long_answers_are_compressed_for_those_who_take_it(client):
    def sent(coding, limit):
        headers = {"Accept-Encoding": coding}
        with client.stream("POST", "/api/search", json={"limit": limit}, headers=headers) as answer:
            answer.read()
        assert answer.headers["vary"] == "Accept-Encoding"
        return answer.headers.get("content-encoding"), int(answer.headers["content-length"]), len(answer.json()["hits"])

    plain, packed = sent("identity", 100), sent("gzip", 100)
    assert (plain[0], packed[0]) == (None, "gzip")
    assert plain[2] == packed[2] > 10
    assert packed[1] < plain[1] / 4
    assert sent("gzip", 1)[0] is None


def test_files_of_the_page_are_kept_for_ever_and_the_page_is_not(client):
    for name in page_files():
        answer = client.get(name)
        assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip")
        assert answer.headers["cache-control"] == ("no-cache" if name == "/" else "max-age=31536000, immutable")
        again = client.get(name, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_entities(index, client):
    assert [each["id"] for each in client.get("/api/entities", params={"prefix": "cri"}).json()] == ["c:red"]
    assert client.get("/api/entities", params={"prefix": "r", "type": "nothing"}).json() == []
    listed = client.get("/api/entities", params={"limit": 2, "offset": 1}).json()
    assert [each["id"] for each in listed] == [each.id for each in index.entities(limit=2, offset=1)]
    assert client.get("/api/entities/c:red").json() == plain(index.entity("c:red"))
    assert len(client.get("/api/entities/c:red/similar", params={"limit": 3}).json()) == 3
    images = client.get("/api/entities/c:red/images", params={"order": "doubt", "accepted": True}).json()
    assert [each["probability"] for each in images] == [0.85, 0.92, 0.97, 0.995]
    for refused in (client.get("/api/entities/c:gren/images"), client.post("/api/search", json={"entity": "gren"})):
        assert refused.status_code == 404
        assert refused.json()["hint"].startswith("Did you mean green (c:green)")


def test_an_entity_whose_id_has_slashes(index, client):
    index.connection.execute("INSERT INTO entities VALUES ('http://e.org/a b', 99, 'far', '', 1.0)")
    assert client.get("/api/entities/http%3A%2F%2Fe.org%2Fa%20b").json()["name"] == "far"
    assert client.get("/api/entities/http%3A%2F%2Fe.org%2Fa%20b/images").json() == []


def test_what_the_index_holds(index, client):
    info = client.get("/api/info").json()
    assert {name: info[name] for name in plain(index.info())} == plain(index.info())
    assert (info["token"], info["max_upload_bytes"]) == (False, 50_000_000)
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}


def test_ready_is_a_server_whose_index_can_be_read(index, client):
    index.path.rename(index.path.with_name("moved"))
    index.close()
    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert str(index.path.parent) not in answer.text


def test_a_verdict_on_a_read_only_index_is_refused_with_advice_that_fits(index):
    with read_only(index.path), served(index) as client:
        answer = client.post("/api/verdicts", json=[verdict("red-0")])
        assert answer.status_code == 409
        assert "readonly" in answer.json()["error"]
        assert "allow writing to its folder" in answer.json()["hint"]
        assert client.get("/api/images/1/thumbnail").status_code == 200


def verdict(key, value="n", entity="c:red", who="ann"):
    return {"shard": "images", "key": key, "entity": entity, "verdict": value, "who": who}


def test_a_person_does_not_pass_for_an_agent(client):
    answer = client.post("/api/verdicts", json=[verdict("red-0"), verdict("red-1", who="agent:tester")])
    assert answer.status_code == 422
    assert "a name that begins with agent: is an agent's" in answer.json()["error"]
    assert client.get("/api/verdicts").json() == []
    assert client.post("/api/verdicts", json=[verdict("red-0", who="Agent: Smith")]).status_code == 201


def test_verdicts_are_kept_taken_back_and_come_out_as_a_table(client):
    kept = client.post("/api/verdicts", json=[verdict("red-0"), {**verdict("red-1", "y"), "instead": "c:blue"}]).json()
    assert [each["id"] for each in kept] == [1, 2]
    assert all(each["when"].endswith("Z") for each in kept)
    assert client.delete("/api/verdicts/1").status_code == 204
    assert client.delete("/api/verdicts/1").status_code == 404
    assert [each["key"] for each in client.get("/api/verdicts", params={"entity": "c:red"}).json()] == ["red-1"]
    table = pq.read_table(io.BytesIO(client.get("/api/verdicts.parquet").content)).to_pylist()
    assert table == [
        {
            "shard": "images",
            "key": "red-1",
            "entity": "c:red",
            "verdict": "y",
            "instead": "c:blue",
            "who": "ann",
            "when": kept[1]["when"],
            "probability": 0.97,
            "stratum": None,
        }
    ]
    assert client.get("/api/verdicts.parquet", params={"labels": "elsewhere"}).status_code == 422


def test_two_reviewers_at_once_lose_nothing(tmp_path):
    index = labelled_index(tmp_path, each=20)
    with served(index, rate=0) as client:

        def review(who):
            judged = []
            for _ in range(6):
                batch = client.get("/api/review", params={"who": who, "limit": 5, "accepted": True}).json()
                body = [verdict(each["image"]["key"], "y", each["entity"]["id"], who) for each in batch]
                judged += client.post("/api/verdicts", json=body).json()
                client.delete(f"/api/verdicts/{judged.pop()['id']}")
            return judged

        with ThreadPoolExecutor(2) as threads:
            parts = list(threads.map(review, ["ann", "bob"]))
        kept = {each["id"]: each for each in client.get("/api/verdicts").json()}
        assert kept == {each["id"]: each for part in parts for each in part}
        assert len(kept) == 48
        # Who draws in another order seldom judges the same label.
        labels = [(each["key"], each["entity"]) for each in kept.values()]
        assert len(set(labels)) > 36

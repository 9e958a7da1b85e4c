"""An index in a store: as it was at one moment, whole or refused; a stranger's reaches nothing outside of itself."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from search_world import colour_encoder, write_colour_kb, write_images
from typer.testing import CliRunner

from hostile.kills import digests, kill_and_compare
from openmofi.cli.main import app
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.sharing.indexes import fetch_index, publish_index
from openmofi.search import Index, Query, build
from openmofi.search.records import Verdict
from openmofi.search.store.database import only_writer

PART = 1 << 15
"""Bytes of a part: the index then has several."""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    kb = KnowledgeBase.open(write_colour_kb(folder / "kb"))
    images = write_images(folder / "images")
    (images / "broken.png").write_bytes(b"no image")
    build([str(images)], colour_encoder(), folder / "index", kb=kb)
    return folder / "index"


@pytest.fixture
def index(built, tmp_path) -> Path:
    return shutil.copytree(built, tmp_path / "index")


@pytest.fixture
def published(index, tmp_path) -> Path:
    publish_index(index, tmp_path / "published", part_size=PART)
    return tmp_path / "published"


def found(index, text="red") -> list[tuple[int, float]]:
    opened = Index.open(index, colour_encoder())
    hits = opened.search(Query(text=text, limit=10)).hits
    opened.close()
    return [(hit.image.id, hit.cosine) for hit in hits]


def shrink(index):
    """Remove the first image that is found."""
    opened = Index.open(index, colour_encoder())
    opened.remove([opened.search(Query(text="red")).hits[0].image.path])
    opened.close()


def message(address, out) -> str:
    with pytest.raises(OpenMofiError) as caught:
        fetch_index(address, out)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    return str(caught.value)


def republished(index, out, change):
    """Publish an index whose database a stranger has changed; the digests are right."""
    publish_index(index, out, part_size=PART)
    fetch_index(out, out.with_name("strangers")).close()
    database = sqlite3.connect(out.with_name("strangers") / "index.db")
    database.executescript(change)
    database.close()
    from openmofi.plugins.sharing import indexes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexes, "verify", lambda _: {})
        patch.setattr(indexes, "_require_tables", lambda *_: None)
        patch.setattr(indexes, "_segments", lambda _: [path.name for path in (index / "vectors").iterdir()])
        publish_index(out.with_name("strangers"), out, part_size=PART)


def test_what_is_fetched_answers_as_the_index_does_and_is_ones_own(index, published, tmp_path):
    assert len(list(published.glob("part-*"))) > 2
    fetched = fetch_index(published, tmp_path / "fetched")
    assert fetched.info().images == Index.open(index).info().images > 10
    assert set(fetched.verify().values()) == {""}
    fetched.close()
    assert found(tmp_path / "fetched") == found(index) != []
    kept = {path.relative_to(tmp_path / "fetched").as_posix() for path in (tmp_path / "fetched").rglob("*.*")}
    assert {"index.db", "thumbnails.db"} <= kept
    assert "problems.csv" not in kept  # a spreadsheet would compute a stranger's
    assert not (tmp_path / ".fetched.fetch").exists()
    shrink(tmp_path / "fetched")
    assert found(index) != found(tmp_path / "fetched")


def test_a_store_gets_the_files_and_no_part_twice(index, published, bucket, tmp_path):
    publish_index(index, "s3://data/index", part_size=PART)
    names = {path.name for path in published.iterdir()}
    assert {name.removeprefix("index/") for name in bucket.listed("index/")} == names
    assert all(bucket.get(f"index/{name}") == (published / name).read_bytes() for name in names - {"manifest.json"})
    bucket.requests.clear()
    publish_index(index, "s3://data/index", part_size=PART)
    assert not [path for method, path in bucket.requests if method == "PUT" and "part-" in path]
    fetch_index("s3://data/index", tmp_path / "fetched").close()
    bucket.requests.clear()
    fetch_index("s3://data/index", tmp_path / "fetched").close()
    assert not [path for _, path in bucket.requests if "part-" in path], "fetched once"
    assert found(tmp_path / "fetched") == found(index)


def test_a_newer_state_takes_the_place_of_an_older_one(index, published, tmp_path):
    before = {path.name for path in published.glob("part-*")}
    fetch_index(published, tmp_path / "old").close()
    shrink(index)
    publish_index(index, published, part_size=PART)
    named = {part["name"] for part in json.loads((published / "index.json").read_text())["parts"]}
    assert {path.name for path in published.glob("part-*")} == named != before
    fetch_index(published, tmp_path / "new").close()
    assert found(tmp_path / "new") == found(index)
    with pytest.raises(OpenMofiError, match="is another index than"):
        fetch_index(published, tmp_path / "old")


def test_verdicts_that_are_given_meanwhile_are_in_or_not_and_stay_in_the_index(index, tmp_path, monkeypatch):
    from openmofi.plugins.sharing import indexes

    opened, usual = Index.open(index), indexes._copied

    def judging(source, copy):
        if source.name == "index.db":
            opened.add_verdict(Verdict("images", "red-0", "c:red", "n"))
        return usual(source, copy)

    monkeypatch.setattr(indexes, "_copied", judging)
    published = publish_index(index, tmp_path / "published")
    assert published.counts["verdicts"] == len(opened.verdict_table()) == 1
    assert len(fetch_index(tmp_path / "published", tmp_path / "fetched").verdict_table()) == 1


def test_two_writers_are_told_apart(index, tmp_path):
    with only_writer(index), pytest.raises(OpenMofiError, match="is being written by"):
        publish_index(index, tmp_path / "published")
    assert not (tmp_path / "published").exists()


def test_a_full_store_keeps_what_was_published_before(index, bucket, tmp_path):
    publish_index(index, "s3://data/index", part_size=PART)
    was = found(index)
    shrink(index)
    bucket.refuse = "QuotaExceeded"
    with pytest.raises(OpenMofiError, match="quota"):
        publish_index(index, "s3://data/index", part_size=PART)
    bucket.refuse = ""
    fetch_index("s3://data/index", tmp_path / "fetched").close()
    assert found(tmp_path / "fetched") == was


@pytest.mark.slow
def test_a_killed_job_ends_in_the_same_bytes(index, tmp_path):
    kills, differences = kill_and_compare(
        lambda out: publish_index(index, out, part_size=PART), 4, np.random.default_rng(3)
    )
    assert (kills >= 4, differences) == (True, [])


def test_a_part_that_is_missing_or_damaged_is_named_and_the_download_goes_on(published, tmp_path):
    part = sorted(published.glob("part-*"))[1]
    whole = part.read_bytes()
    part.unlink()
    assert f"{part.name} is missing" in message(published, tmp_path / "fetched")
    part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert f"{part.name} is damaged" in message(published, tmp_path / "fetched")
    part.write_bytes(whole)
    fetch_index(published, tmp_path / "fetched").close()


@pytest.mark.parametrize("name", ["../index.db", "/etc/x", "vectors/../../x.npy", "cache/x.faiss", "vectors/x.so", ""])
def test_a_file_that_no_index_has_is_refused_before_anything_is_written(published, name, tmp_path):
    path = published / "index.json"
    described = json.loads(path.read_text())
    described["files"][-1]["name"] = name
    path.write_text(json.dumps(described))
    assert "which is no file of a published index" in message(published, tmp_path / "fetched")
    assert not (tmp_path / ".fetched.fetch").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "CREATE TRIGGER t AFTER INSERT ON verdicts BEGIN DELETE FROM images; END",
            "tables .* are not those of an index",
        ),
        ("CREATE VIEW v AS SELECT 1", "tables .* are not those of an index"),
        ("DROP TABLE verdicts", "tables .* are not those of an index|no such table"),
        (
            "CREATE TRIGGER sqliteevil AFTER INSERT ON verdicts BEGIN DELETE FROM images; END",
            "tables .* are not those of an index",
        ),
        ("CREATE VIEW sqlitev AS SELECT 1", "tables .* are not those of an index"),
        ("ALTER TABLE images ADD COLUMN more AS (key || key)", "tables .* are not those of an index"),
        ("CREATE TABLE map (image, x, y, area, more)", "tables .* are not those of an index"),
        ("UPDATE segments SET file = '../../secret.npy'", "names vectors that are none of an index"),
        ("UPDATE segments SET file = '..'", "names vectors that are none of an index"),
        ("UPDATE images SET content = 'a' || char(13, 10) || 'b' WHERE id = 1", "images without a digest"),
        ("UPDATE images SET file = 'http://127.0.0.1:9/x.jpg' WHERE id = 1", "would ask for"),
        ("UPDATE sources SET path = 's3://yours/x.tar'", "would ask for"),
        ("UPDATE sources SET labels = 'https://host/labels'", "would ask for"),
        ("UPDATE segments SET digest = '00'", "is damaged"),
        ("UPDATE meta SET value = '99' WHERE name = 'version'", "version"),
    ],
)
def test_a_strangers_database_is_refused(index, change, said, tmp_path):
    if "version" in change or "DROP" in change:
        publish_index(index, tmp_path / "published")
        path = tmp_path / "published/index.json"
        described = json.loads(path.read_text())
        path.write_text(json.dumps(described | {"index_version": "99"}))
        assert "has index_version" in message(tmp_path / "published", tmp_path / "fetched")
        return
    (tmp_path / "secret.npy").write_bytes(b"secret")
    republished(index, tmp_path / "published", change)
    import re

    assert re.search(said, message(tmp_path / "published", tmp_path / "fetched"))


def test_a_map_of_an_earlier_version_is_made_again_not_the_index(index, tmp_path):
    with closing(Index.open(index)) as opened:
        opened.make_map()
        opened.connection.execute("DROP TABLE map")
        opened.connection.execute("CREATE TABLE map (image BIGINT PRIMARY KEY, x REAL, y REAL, area BIGINT)")
        opened.connection.execute("DELETE FROM meta WHERE name = 'map_tiles'")
        with pytest.raises(OpenMofiError, match=r"map of .* is of an earlier version") as refused:
            publish_index(index, tmp_path / "published")
        assert f"openmofi index map {index}" in refused.value.hint
        opened.make_map()
        publish_index(index, tmp_path / "published")


def test_a_map_and_what_people_say_go_along(index, tmp_path):
    opened = Index.open(index)
    opened.make_map()
    publish_index(index, tmp_path / "published")
    fetched = fetch_index(tmp_path / "published", tmp_path / "fetched")
    assert len(fetched.map().images) > 10
    fetched.close()
    fetch_index(tmp_path / "published", tmp_path / "fetched").close()
    opened.add_verdict(Verdict("images", "red-0", "c:red", "n"))
    opened.close()
    publish_index(index, tmp_path / "published")
    with pytest.raises(OpenMofiError, match="is another index than"):
        fetch_index(tmp_path / "published", tmp_path / "fetched")
    fetched = fetch_index(tmp_path / "published", tmp_path / "again")
    assert len(fetched.verdict_table()) == 1
    fetched.close()


def test_an_index_with_tables_of_others_is_not_published(index, tmp_path):
    with sqlite3.connect(index / "index.db") as database:
        database.execute("CREATE TABLE mine (a)")
    with pytest.raises(OpenMofiError, match=r"tables .* are not those of an index"):
        publish_index(index, tmp_path / "published")


def test_addresses_are_taken_where_they_are_asked_for(index, tmp_path):
    republished(index, tmp_path / "published", "UPDATE sources SET path = 's3://yours/x.tar'")
    with pytest.raises(UsageError) as caught:
        fetch_index(tmp_path / "published", tmp_path / "fetched")
    assert "--addresses" in caught.value.hint
    fetch_index(tmp_path / "published", tmp_path / "fetched", addresses=True).close()


def test_a_damaged_index_is_not_published_and_a_server_says_how(index, tmp_path):
    segment = next((index / "vectors").iterdir())
    segment.write_bytes(segment.read_bytes()[:-1] + b"x")
    with pytest.raises(OpenMofiError, match=r"is damaged: .*openmofi index compact"):
        publish_index(index, tmp_path / "published")
    assert not (tmp_path / "published" / "index.json").exists()
    with pytest.raises(UsageError, match="database server"):
        publish_index("postgresql://h/d", tmp_path / "published")
    with pytest.raises(OpenMofiError, match="is not an index"):
        publish_index(tmp_path / "nothing", tmp_path / "published")
    assert not (tmp_path / "nothing").exists()


def test_other_folders_are_left_alone(published, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OpenMofiError, match="is not empty and is no index"):
        fetch_index(published, tmp_path / "mine")
    assert digests(tmp_path / "mine").keys() == {"letter.txt"}


def test_by_the_commands_which_say_what_to_do_with_an_address(index, tmp_path):
    run = CliRunner().invoke
    done = run(app, ["index", "publish", str(index), "-o", str(tmp_path / "out")])
    assert f"openmofi index fetch {tmp_path / 'out'} -o index" in done.stdout
    done = run(app, ["index", "fetch", str(tmp_path / "out"), "-o", str(tmp_path / "own"), "--json"])
    assert json.loads(done.stdout)["images"] > 10
    for arguments in (
        ["search", "memory://b/i", "--text", "a"],
        ["index", "build", "x", "--encoder", "tiny", "-o", "memory://b/i"],
    ):
        done = run(app, arguments)
        assert isinstance(done.exception, UsageError), done.output
        assert "in a store of objects (s3://…" in str(done.exception)

"""An index in PostgreSQL beside one in a folder; the server killed, two writers, and sentences without passwords."""

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow.parquet as pq
import pytest
from postgres_server import PASSWORD
from search_world import COLOURS, ColourEncoder, colour_encoder, write_images
from served_world import labelled_index, served
from typer.testing import CliRunner

import openmofi
from openmofi.cli.main import app
from openmofi.errors import OpenMofiError, UnknownEntityError, UsageError, install_command, without_passwords
from openmofi.plugins.postgres import vector_table
from openmofi.plugins.postgres.address import PostgresServer
from openmofi.plugins.postgres.vector_table import InDatabase, VectorTable
from openmofi.plugins.server.facets import facets_of
from openmofi.plugins.server.plane import ChoiceBody, Plane, places_of
from openmofi.search import Example, Filters, Index, Query, Verdict, build, remove
from openmofi.search import writer as writer_module
from openmofi.search.rank.queries import entities_named, images_by_text, meaning_of
from openmofi.search.store.connection import Segment, place_of
from openmofi.search.store.database import connect, only_writer
from openmofi.search.store.vectors import Exact
from openmofi.search.verdicts import precision, to_judge

pytestmark = pytest.mark.xdist_group("postgres")


@pytest.fixture
def backend():
    return "postgres"


def _content(place):
    """What an index holds, whatever its ids."""
    with closing(Index.open(place, ColourEncoder())) as index:
        hits = index.search(Query(text="red", limit=1000, fold=False)).hits
    return {hit.image.key: (hit.image.status, hit.image.text, round(hit.cosine, 4)) for hit in hits}


def _queries(images):
    yield from (Query(text=f"a {colour} square", limit=50) for colour in COLOURS)
    yield Query((Example(images / "red-1.png"), Example(images / "blue-1.png", -0.5)), fold=False)
    yield Query(entity="c:green", until=0.5)
    yield Query(text="green", filters=Filters(entity="c:green", min_probability=0.9))
    yield Query(text="thing", filters=Filters(folder=str(images)), offset=3, limit=7)
    yield Query(filters=Filters(entity="c:blue"))


@pytest.fixture(scope="module")
def both(postgres, tmp_path_factory):
    """The same labelled images in a folder and on the server, with the same verdicts; nobody may change them."""
    folder = tmp_path_factory.mktemp("both")
    made = labelled_index(folder), labelled_index(folder, place=postgres.address("both"))
    albums = ("Ärger", "ÄRger", "ärger", "First", "first", "C*", 'a "b', 1.5, True, "")
    for index in made:
        index.connection.executemany(
            "UPDATE images SET columns = ? WHERE id = ?",
            [(json.dumps({"album": albums[image % len(albums)]}), image) for image in range(1, 31)],
        )
        index.add_verdicts(
            [
                Verdict("images", "red-0", "c:red", "y"),
                Verdict("images", "red-1", "c:red", "n", "c:blue"),
                Verdict("images", "blue-1", "c:blue", "u"),
                Verdict("images", "none", "c:red", "y"),
                Verdict("images", "red-1", "c:red", "y", who="b"),
            ]
        )
        index.undo_verdict(4)
        index.make_map()
    yield made
    for index in made:
        index.close()


def test_facets_and_orders_are_those_of_a_folder(both):
    dated = [Filters(since="2024-01-02"), Filters(verdict="n"), Filters(verdict="y")]
    for filters in (Filters(), Filters(entity="c:red"), Filters(type="colour", min_probability=0.8), *dated):
        there = [facets_of(index, Query(filters=filters), None) for index in both]
        assert there[0] == there[1]
    values = facets_of(both[1], Query(), None).values
    assert values["type"]
    # The case of A–Z alone is ignored, whatever the server's locale.
    counts = {"ÄRger": 6, "First": 6, "1": 3, "1.5": 3, 'a "b': 3, "ärger": 3}
    assert {each.value: each.images for each in values["column.album"]} == counts
    for index in both:
        asked = {album: Query(filters=Filters(columns={"album": album}), fold=False) for album in counts}
        assert {album: index.search(query).total for album, query in asked.items()} == counts
    for order in ("newest", "oldest"):
        first, second = ([hit.image.key for hit in index.search(Query(order=order)).hits] for index in both)
        assert first == second


def test_the_same_results_as_in_a_folder_to_the_last_digit(both):
    one, other = both
    images = Path(one.info().sources[0])

    def found(index, query):
        results = index.search(query)
        return [(hit.image, hit.cosine, hit.probability, hit.duplicates) for hit in results.hits], results.total

    for query in _queries(images):
        assert found(one, query) == found(other, query), query
    assert [each.tobytes() for each in one.vectors()] == [each.tobytes() for each in other.vectors()]
    assert one.thumbnail(1) == other.thumbnail(1)
    assert one.recognise(images / "red-1.png") == other.recognise(images / "red-1.png")


def test_texts_mean_the_same_as_in_a_folder(both):
    for text in ("red", "REDS", " crimson ", "", "redd", "NOT red", '"red', "red*", "\x00", "'", "_", "a red square"):
        names, words, meanings = zip(
            *(
                (
                    entities_named(index.connection, text),
                    images_by_text(index.connection, text, 100, every=True),
                    meaning_of(index.connection, text, []),
                )
                for index in both
            ),
            strict=True,
        )
        assert names[0] == names[1] == (["c:red"] if text.strip(' "*').lower() in ("red", "reds", "crimson") else [])
        assert set(words[0]) == set(words[1])
        assert meanings[0].judged == pytest.approx(meanings[1].judged)
        assert len(meanings[1].judged) == 10 * len(names[1])


def _precision(index, *of):
    """Sums of numbers in another order differ in their last digit."""
    return json.loads(
        json.dumps(asdict(precision(index.connection, *of))), parse_float=lambda text: round(float(text), 12)
    )


def test_the_same_entities_and_reviews_as_in_a_folder(both):
    one, other = both
    for ask in (
        lambda index: index.complete("re"),
        lambda index: index.entities(type="colour", limit=4, offset=1),
        lambda index: index.similar_entities("c:red"),
        lambda index: index.find_entity("GREEN"),
        lambda index: index.entity_images("c:red", order="doubt"),
        _precision,
        lambda index: index.entity_images("c:red", accepted=True, limit=3, offset=1),
        lambda index: _precision(index, "c:red", None),
        lambda index: to_judge(index.connection, order="doubt"),
        lambda index: to_judge(index.connection, "c:blue", order="sure", accepted=None),
        lambda index: [(each.shard, each.key, each.who, each.id) for each in index.verdicts(limit=2)],
        lambda index: index.verdict_table().drop_columns(["when"]),
        lambda index: replace(Plane().answer(index.connection), state=0),
        lambda index: Plane().tile(index.connection, Plane().answer(index.connection).state, 0, 0, 0),
        lambda index: Plane().chosen(index.connection, ChoiceBody(((0, 0), (40_000, 0), (40_000, 65_536)))),
        lambda index: Plane().chosen(index.connection, ChoiceBody(area=1)),
        lambda index: places_of(index.connection, [1, 5, 99]),
        lambda index: replace(index.info(), path="", bytes={}, last=""),
    ):
        assert ask(one) == ask(other)
    drawn = to_judge(other.connection, order="active", limit=10)
    assert len({(each.image.id, each.entity.id) for each in drawn}) == 10
    said = []
    for index in both:
        with pytest.raises(UnknownEntityError) as raised:
            index.find_entity("yelow")
        said.append(raised.value.hint)
    assert said[0] == said[1] != ""


def test_many_images_are_recognised_by_an_index_on_a_server(both, tmp_path):
    images = Path(both[0].info().sources[0])
    tables = []
    for number, index in enumerate(both):
        counts = openmofi.recognise(
            images, index=index, out=tmp_path / str(number), encoder=index.encoder, progress=False
        )
        assert counts["rows_out"] == 30
        (file,) = (tmp_path / str(number) / "recognised").glob("*.parquet")
        tables.append(pq.read_table(file))
    assert tables[0].equals(tables[1])


def test_keywords_find_what_fts5_finds(tmp_path, new_place):
    draw = np.random.default_rng(0)
    words = ["tree", "Café", "cafe", "naïve", "2024", "3d", "straße", "x", "éclair", "foo_bar", "bar", "東京", "can't"]
    folder = write_images(tmp_path / "images", 8)
    for file in folder.glob("*.txt"):
        file.write_text(" ".join(draw.choice(words, 3)) + " ;'\\:*&|!()<->\"")
    indexes = []
    for place in (tmp_path / "index", new_place()):
        build([str(folder)], colour_encoder(), place)
        indexes.append(Index.open(place, colour_encoder()))

    def found(index, text):
        hits = index.search(Query(text=text, limit=100, fold=False)).hits
        return {hit.image.key for hit in hits if hit.keyword is not None}

    for text in [*words, "cafe tree", "CAFÉ 2024", "bar x", "' & | tree", "foo", "no-such", "tree:*"]:
        assert found(indexes[0], text) == found(indexes[1], text), text


def test_restarted_in_the_middle_of_adding_and_the_same_command_goes_on(postgres, images, place, monkeypatch):
    monkeypatch.setattr(writer_module, "COMMIT_ROWS", 6)
    monkeypatch.setattr(writer_module, "_BATCH", 3)
    encoder, seen, done = colour_encoder(), writer_module._seen, []

    def interrupted(*arguments):
        done.append(1)
        if len(done) == 15:  # the third of the third commit: vectors are written, rows are not
            postgres.restart()
        return seen(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(writer_module, "_seen", interrupted)
        with pytest.raises(OpenMofiError, match="has ended the connection") as raised:
            build([str(images)], encoder, place)
    assert "start the command again" in raised.value.hint
    with closing(Index.open(place, encoder)) as index:
        assert index.info().images == 12
        assert not any(index.verify().values())
    changes = build([str(images)], encoder, place)
    assert (changes.added, changes.unchanged, changes.embedded) == (18, 12, 18)
    assert len(_content(place)) == 30


RESTARTS = int(os.environ.get("OPENMOFI_INDEX_KILLS", "5"))
"""Random moments at which the server is killed; `make fuzz` takes 100."""


@pytest.mark.slow
def test_killed_at_any_moment_of_adding_removing_and_compacting(postgres, images, place, monkeypatch):
    monkeypatch.setattr(writer_module, "COMMIT_ROWS", 6)
    monkeypatch.setattr(writer_module, "_BATCH", 3)
    encoder = colour_encoder()
    build([str(images)], encoder, place)
    whole = _content(place)
    work = [
        lambda: remove(place, [str(images / f"{colour}-1.png") for colour in COLOURS]),
        lambda: Index.open(place, encoder).compact(),
        lambda: build([str(images)], encoder, place),
    ]
    for moment in np.random.default_rng(0).uniform(0.01, 0.5, RESTARTS):
        raised = []

        def run(raised=raised):
            try:
                for each in work:
                    each()
            except OpenMofiError as error:
                raised.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(moment)
        postgres.restart()
        thread.join()
        assert _content(place).items() <= whole.items()
        with closing(Index.open(place, encoder)) as index:
            assert not any(index.verify().values())
        build([str(images)], encoder, place)
        assert _content(place) == whole


def test_a_query_while_the_server_restarts(postgres, index, monkeypatch):
    before = [hit.image.key for hit in index.search(Query(text="red")).hits]
    postgres.restart()
    assert [hit.image.key for hit in index.search(Query(text="red")).hits] == before
    from openmofi.search import index as index_module

    ranked = index_module.ranked

    def interrupted(*arguments):
        postgres.stop()
        return ranked(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(index_module, "ranked", interrupted)
        with pytest.raises(OpenMofiError, match="has ended the connection"):
            index.search(Query(text="red"))
    with pytest.raises(OpenMofiError, match="cannot be reached") as raised:
        index.search(Query(text="red"))
    assert "Start the server" in raised.value.hint
    postgres.start()
    assert [hit.image.key for hit in index.search(Query(text="red")).hits] == before


def test_the_http_api_goes_on_after_a_restart(postgres, index, caplog):
    with served(index) as client:
        assert client.post("/api/search", json={"text": "red"}).status_code == 200
        assert client.get("/readyz").json() == {"status": "ok"}
        postgres.stop()
        for answer in (
            client.post("/api/search", json={"text": "red"}),
            client.get("/api/images/1"),
            client.get("/readyz"),
            client.post("/api/verdicts", json=[{"shard": "images", "key": "red-0", "entity": "c:red", "verdict": "y"}]),
        ):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert "cannot be reached" in answer.text
            assert not any(secret in answer.text for secret in (str(postgres.folder), "postgresql:", "app@", "images?"))
            assert str(postgres.folder) in next(  # which the log says
                record.getMessage()
                for record in caplog.records
                if getattr(record, "fields", {}).get("request_id") == answer.json()["request_id"]
            )
        assert (client.get("/healthz").status_code, client.get("/healthz").json()) == (200, {"status": "ok"})
        postgres.start()
        assert client.post("/api/search", json={"text": "red"}).json()["hits"]
        assert client.get("/readyz").status_code == 200


def test_a_second_writer_is_refused_and_says_who_writes(images, index, place):
    with only_writer(index.path):
        for write in (
            lambda: build([str(images)], index.encoder, place),
            lambda: remove(place, ["x"]),
            index.compact,
            index.make_map,
        ):
            with pytest.raises(OpenMofiError, match=r"is being written by process \d+ on ") as raised:
                write()
            assert "searching is possible" in raised.value.hint
        assert index.search(Query(text="red")).hits
        assert index.add_verdict(Verdict("images", "red-0", "c:red", "y")).id
    assert build([str(images)], index.encoder, place).unchanged == 30


def test_who_loses_the_connection_writes_no_more(postgres, images, index, place):
    with only_writer(index.path) as writer:
        postgres.restart()
        assert build([str(images)], index.encoder, place).unchanged == 30  # the lock went with the connection
        for _ in range(2):
            with pytest.raises(OpenMofiError, match="has ended the connection"):
                writer.execute("SELECT 1")


def test_several_reviewers_at_once(index):
    def review(who):
        return [
            index.add_verdict(Verdict("images", f"red-{number % 5}", "c:red", "y", who=who)).id for number in range(10)
        ]

    with ThreadPoolExecutor(4) as threads:
        ids = [each for some in threads.map(review, "abcd") for each in some]
    assert len(set(ids)) == 40
    assert sorted(each.id for each in index.verdicts()) == sorted(ids)


def test_a_reader_goes_on_while_segments_are_compacted(images, index, place, monkeypatch):
    remove(place, [str(images / "red-1.png")])
    from openmofi.search import index as index_module

    ranked = index_module.ranked

    def meanwhile(*arguments):
        with closing(Index.open(place, ColourEncoder())) as other:
            other.compact()
        return ranked(*arguments)

    monkeypatch.setattr(vector_table, "FROM", 1)  # vectors are read while it searches
    expected = [hit.image.key for hit in index.search(Query(text="green", fold=False)).hits]
    with monkeypatch.context() as patch:
        patch.setattr(index_module, "ranked", meanwhile)
        assert [hit.image.key for hit in index.search(Query(text="green", fold=False)).hits] == expected
    assert [hit.image.key for hit in index.search(Query(text="green", fold=False)).hits] == expected
    info = index.info()
    assert (info.dead, info.vectors) == (0, 29)


@pytest.mark.parametrize(
    "damage", ["UPDATE vectors SET vector = (-vector::vector)::halfvec WHERE id = ", "DELETE FROM vectors WHERE id = "]
)
def test_damaged_vectors_are_named_and_mended_from_the_images(index, place, damage):
    expected = _content(place)
    ((file,),) = index.connection.execute("SELECT file FROM segments")
    damage = damage.replace("-vector::vector", "'[0,0,1,0,0,0]'::vector")
    index.connection.execute(f"{damage} (SELECT min(id) FROM vectors)")
    assert {name for name, problem in index.verify().items() if problem} == {f"vectors/{file}"}
    if "DELETE" in damage:
        with pytest.raises(OpenMofiError, match="are damaged") as raised:
            Index.open(place, ColourEncoder()).search(Query(text="red"))
        assert f"index compact {index.path}" in raised.value.hint
    assert index.compact().embedded == 30
    assert not any(index.verify().values())
    assert _content(place) == expected


def test_tools_that_may_only_read_are_refused_by_the_server(index, place):
    connection = connect(place_of(place))
    connection.only_read()
    with closing(connection), pytest.raises(OpenMofiError, match="read-only"):
        connection.execute("DELETE FROM images")


@pytest.fixture(scope="module")
def many(postgres):
    """6,000 vectors in three segments of pgvector's table with a graph, and the same in memory."""
    place, draw = place_of(postgres.address("many")), np.random.default_rng(0)
    centres = draw.normal(size=(40, 32))
    parts = [centres[draw.integers(0, 40, 2_000)] + draw.normal(0, 0.5, (2_000, 32)) for _ in range(3)]
    parts = [(part / np.linalg.norm(part, axis=1, keepdims=True)).astype(np.float32) for part in parts]
    new = {"dim": "32", "dtype": "float16", "encoder": "x", "fingerprint": "x", "template": "x"}
    with only_writer(place, new) as connection:
        store = connection.vectors()
        segments = [Segment(number, *store.write(part, "float16")) for number, part in enumerate(parts)]
        store.write(parts[0], "float16")  # of a process that was killed: no state has it
        store.make_graph()
    connection = connect(place)
    yield InDatabase(segments, 32, lambda: connection), Exact([part.astype(np.float16) for part in parts])
    connection.close()


@pytest.mark.parametrize("share", [None, 0.01, 0.1, 0.5])
def test_the_graph_beside_exact_search(many, share):
    there, exact = many
    assert there.name.startswith("pgvector HNSW")
    draw = np.random.default_rng(1)
    queries = exact.rows(draw.choice(6_000, 20)) + draw.normal(0, 0.05, (20, 32)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    allowed = None if share is None else draw.random(6_000) < share
    scores, positions = there.search(queries, 10, allowed)
    expected, right = exact.search(queries, 10, allowed)
    if allowed is not None:
        assert allowed[positions].all()
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(positions.tolist(), right.tolist(), strict=True)]) >= 0.98
    assert np.allclose(scores[:, 0], expected[:, 0], atol=1e-5)
    assert np.allclose(there.rows(positions[0]), exact.rows(positions[0]), atol=0)
    assert np.allclose(there.scores(queries[:1]), exact.scores(queries[:1]), atol=0)


def test_a_large_index_searches_in_the_database(images, index, monkeypatch):
    expected = [hit.image.key for hit in index.search(Query(text="green", limit=5, fold=False)).hits]
    monkeypatch.setattr(vector_table, "FROM", 10)
    assert build([str(images)], index.encoder, index.path).unchanged == 30
    with only_writer(index.path) as connection:
        store = connection.vectors()
        assert isinstance(store, VectorTable)
        store.make_graph()
    with closing(Index.open(index.path, colour_encoder())) as again:
        assert again.info().vector_index.startswith("pgvector HNSW")
        assert again.info().bytes["cache"] > 0
        assert [hit.image.key for hit in again.search(Query(text="green", limit=5, fold=False)).hits] == expected
        remove(index.path, [str(images / f"{expected[0]}.png")])
        assert [hit.image.key for hit in again.search(Query(text="green", limit=4, fold=False)).hits] == expected[1:]


def _refused(place, **create):
    use = (lambda: build([str(create["images"])], colour_encoder(), place)) if create else (lambda: Index.open(place))
    with pytest.raises((OpenMofiError, UsageError)) as raised:
        use()
    said = str(raised.value)
    assert said.endswith((".", ";"))
    assert "\n" not in said
    assert PASSWORD not in said
    assert quote(PASSWORD, safe="") not in said
    assert PASSWORD not in repr(raised.value)
    return said


def test_each_thing_that_is_missing_is_a_sentence(postgres, images, tmp_path, index):
    secret = quote(PASSWORD, safe="")
    good = postgres.address("guarded", user=f"guarded:{secret}")
    build([str(images)], colour_encoder(), good)
    assert secret not in Index.open(good).info().path
    assert secret not in repr(Index.open(good).path)
    assert "password authentication failed" in _refused(postgres.address(user=f"guarded:{secret}x"))
    assert "password" in _refused(postgres.address(user="guarded"))
    assert "cannot be reached" in _refused(f"postgresql://me:{secret}@/x?host={tmp_path}")
    assert "does not exist" in _refused(postgres.address(user=f"guarded:{secret}", database="nowhere"))
    assert "CREATE EXTENSION vector" in _refused(postgres.address(user="app", database="bare"), images=images)
    assert "LATIN1" in _refused(postgres.address(database="latin"), images=images)
    assert "is not an index" in _refused(postgres.address("empty", user=f"guarded:{secret}"))
    assert "cannot be understood" in _refused(f"postgresql://me:{secret}@b@host/x")
    assert "cannot be understood" in _refused(f"postgresql://me:{secret}%zz@host/x")
    assert "cannot be the schema" in _refused(postgres.address("A-b"))
    index.connection.execute("UPDATE meta SET value = '1' WHERE name = 'version'")
    assert "index version 1, not 2" in _refused(index.path)
    assert "index version 1, not 2" in _refused(index.path, images=images)


def test_the_command_line_never_prints_a_password(postgres, images, tmp_path, monkeypatch):
    secret = quote(PASSWORD, safe="")
    place = postgres.address("commands", user=f"guarded:{secret}")
    build([str(images)], colour_encoder(), place)
    index = Index.open(place, colour_encoder())
    index.add_verdict(Verdict("images", "red-0", "c:red", "y"))
    for arguments in (
        ["index", "info", place, "--json"],
        ["index", "remove", place, str(images / "red-1.png")],
        ["index", "remove", place, "nothing"],
        ["search", place, "--limit", "3"],
        ["index", "verdicts", place, "-o", str(tmp_path / "v.parquet")],
        ["search", place.replace("commands", "missing")],
        ["label", "x", "-o", place, "--kb", "x"],
    ):
        done = CliRunner().invoke(app, arguments)
        said = done.output + str(done.exception or "")
        assert secret not in said
        assert PASSWORD not in said
    assert (tmp_path / "v.parquet").is_file()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:sec/ret@h/x",
        "postgresql://u:sec?ret@h/x",
        "postgresql://u:sec#ret@h",
        "postgresql://u:s@ec/ret@h/x",
        "postgresql://u:sec@ret@h/x",
    ],
)
def test_a_password_that_is_no_address_is_not_shown_either(address):
    with pytest.raises(UsageError) as raised:
        place_of(address)
    assert not any(part in str(raised.value) for part in ("sec", "ret", "ec/"))
    with pytest.raises(UsageError, match="lost a slash"):
        place_of(Path(address))
    assert without_passwords(f"no {address} here") == f"no postgresql://u@{address.rpartition('@')[2]} here"
    assert without_passwords("http://h:80/a@b and s3://b/x:y") == "http://h:80/a@b and s3://b/x:y"


@pytest.mark.parametrize(
    ("address", "shown", "password"),
    [
        ("postgresql://ann:p%40w@db.example:5433/images", "postgresql://ann@db.example:5433/images", "p@w"),
        (
            "postgres:///images?host=/tmp/x&password=pw&schema=mine",
            "postgresql:///images?host=/tmp/x&schema=mine",
            "pw",
        ),
        ("postgresql://h/d?sslmode=require", "postgresql://h/d", ""),
    ],
)
def test_an_address_is_shown_without_its_password(address, shown, password):
    server = PostgresServer.parse(address)
    assert (str(server), server.password) == (shown, password)
    assert not password or password not in repr(server)
    assert str(PostgresServer.parse(shown)) == shown


def test_without_the_package_it_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(OpenMofiError, match="psycopg") as raised:
        Index.open("postgresql://nowhere/x")
    assert install_command("postgres") in raised.value.hint

"""Edits asked of Wikidata's API, of a server here that answers as it does."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from item_dumps import Entity, item, write_dump

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.sharing import sources
from openmofi.plugins.wikidata import recent_changes
from openmofi.plugins.wikidata.build import build_wikidata
from openmofi.plugins.wikidata.recent_changes import Api, fetch_changes
from openmofi.plugins.wikidata.update import update_since

SINCE = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
LAGGED = {"error": {"code": "maxlag", "info": "Waiting for db1: 7 seconds lagged."}}


class Wikidata(ThreadingHTTPServer):
    """Lists 120 items by sevens. Of these Q4 was deleted, and Q3 merged into Q1; some answers are errors at first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked: list[dict[str, str]] = []
        self.agents: set[str] = set()
        self.errors: list[Any] = []
        self.most = 50
        self.silent: set[str] = set()
        self.titles = [f"Q{number % 120 + 1}" for number in range(240)] + ["Main Page"]
        self.api = Api(f"http://127.0.0.1:{self.server_port}/w/api.php", "me@example.org")

    def answer(self, asked: dict[str, str]) -> dict[str, Any]:
        if asked["action"] == "query":
            start = int(asked.get("rccontinue", "0"))
            titles = self.titles[start : start + 7]
            more = (
                {"continue": {"rccontinue": str(start + 7), "continue": "-||"}} if start + 7 < len(self.titles) else {}
            )
            return {"query": {"recentchanges": [{"type": "edit", "ns": 0, "title": each} for each in titles]}, **more}
        # MediaWiki leaves out what would make an answer too long.
        ids = [id_ for id_ in asked["ids"].split("|") if id_ not in self.silent][: self.most]
        return {"success": 1, "entities": {id_: self.entity(id_) for id_ in ids}}

    def entity(self, id_: str) -> Entity:
        if id_ == "Q4":
            return {"id": id_, "missing": ""}
        if id_ == "Q3":
            return {**self.entity("Q1"), "redirects": {"from": "Q3", "to": "Q1"}}
        return item(int(id_[1:]), {"en": f"today {id_}"}, revision=20)


class _Answers(BaseHTTPRequestHandler):
    server: Wikidata

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self.server.agents.add(self.headers["User-Agent"])
        error = self.server.errors.pop(0) if self.server.errors else None
        if not error:
            self.server.asked.append(asked)
        content = json.dumps(error if isinstance(error, dict) else self.server.answer(asked)).encode()
        self.send_response(error if isinstance(error, int) else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def wikidata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wikidata]:
    monkeypatch.setattr(sources, "_WAIT", 0.0)
    monkeypatch.setattr(recent_changes, "_LAG", 0.0)
    with Wikidata() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_every_item_is_asked_for_once(wikidata: Wikidata, tmp_path: Path) -> None:
    wikidata.errors = [LAGGED, 503, 429, LAGGED]
    edits = fetch_changes(SINCE, tmp_path, Quiet(), wikidata.api)
    assert edits.changed
    assert edits.deleted
    assert edits.merged
    items = [json.loads(line) for line in gzip.decompress(edits.changed.read_bytes()).splitlines()]
    assert {each["id"] for each in items} == {f"Q{number}" for number in range(1, 121)} - {"Q3", "Q4"}
    assert edits.deleted.read_text() == "Q4\n"
    assert edits.merged.read_text() == "Q3,Q1\n"
    wanted = [asked for asked in wikidata.asked if asked["action"] == "wbgetentities"]
    assert [len(asked["ids"].split("|")) for asked in wanted] == [50, 50, 20]
    first = wikidata.asked[0]
    assert (first["rcnamespace"], first["maxlag"], first["rcdir"]) == ("0", "5", "newer")
    assert datetime.strptime(first["rcstart"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) == SINCE
    assert datetime.strptime(first["rcend"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) == edits.until
    assert len(wikidata.agents) == 1
    assert next(iter(wikidata.agents)).endswith(" (me@example.org)")
    # It is there: nothing is asked again.
    asked = len(wikidata.asked)
    assert fetch_changes(SINCE, tmp_path, Quiet(), wikidata.api) == edits
    assert len(wikidata.asked) == asked
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == [
        "changed",
        "deleted",
        "merged",
        "until",
    ]


@pytest.mark.parametrize("most", [1, 30, 49])
def test_what_an_answer_has_no_room_for_is_asked_for_again(wikidata: Wikidata, tmp_path: Path, most: int) -> None:
    wikidata.most = most
    edits = fetch_changes(SINCE, tmp_path, Quiet(), wikidata.api)
    assert edits.changed
    items = [json.loads(line)["id"] for line in gzip.decompress(edits.changed.read_bytes()).splitlines()]
    assert set(items) == {f"Q{number}" for number in range(1, 121)} - {"Q3", "Q4"}
    assert len(items) == 119  # Q3 is Q1 now


def test_an_item_of_which_nothing_is_said_ends_the_job(wikidata: Wikidata, tmp_path: Path) -> None:
    wikidata.silent = {"Q7"}
    with pytest.raises(OpenMofiError, match="says nothing of Q7"):
        fetch_changes(SINCE, tmp_path, Quiet(), wikidata.api)


@pytest.mark.parametrize("requests", [0, 1, 20, 36, 37])
def test_it_goes_on_where_it_stopped(wikidata: Wikidata, tmp_path: Path, requests: int) -> None:
    wikidata.errors = [*[None] * requests, {"error": {"code": "readonly", "info": "Maintenance."}}]
    with pytest.raises(OpenMofiError, match=r"does not answer \(readonly: Maintenance\)"):
        fetch_changes(SINCE, tmp_path, Quiet(), wikidata.api)
    assert len(wikidata.asked) == requests
    edits = fetch_changes(SINCE, tmp_path, Quiet(), wikidata.api)
    assert len(wikidata.asked) == 38  # 35 pages of the list, and 3 times items
    assert edits.deleted
    assert edits.deleted.read_text() == "Q4\n"


@pytest.mark.parametrize(
    ("since", "match"),
    [
        (SINCE - timedelta(days=40), "lists the edits of the last 30 days"),
        (SINCE + timedelta(days=4), "lists the edits of the last 30 days"),
    ],
)
def test_a_time_that_is_not_listed_is_refused(wikidata: Wikidata, tmp_path: Path, since: datetime, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        fetch_changes(since, tmp_path, Quiet(), wikidata.api)
    assert not wikidata.asked


def test_what_the_server_cannot_say(wikidata: Wikidata, tmp_path: Path) -> None:
    wikidata.errors = [403]
    with pytest.raises(OpenMofiError, match="403"):
        fetch_changes(SINCE, tmp_path, Quiet(), wikidata.api)
    wikidata.errors = [LAGGED] * 60
    with pytest.raises(OpenMofiError, match="7 seconds lagged"):
        fetch_changes(SINCE, tmp_path, Quiet(), wikidata.api)
    wikidata.titles = ["Main Page"]
    with pytest.raises(OpenMofiError, match="Nothing was edited since"):
        fetch_changes(SINCE, tmp_path, Quiet(), wikidata.api)
    wikidata.titles = ["Q5"]
    assert fetch_changes(SINCE, tmp_path, Quiet(), wikidata.api).changed


CHANGED = {"recentchanges": [{"title": "Q5"}]}


@pytest.mark.parametrize(
    ("answers", "match"),
    [
        ([{"query": CHANGED, "continue": {"rccontinue": "1", "continue": "-||"}}] * 9, "again and again"),
        ([{"query": CHANGED, "continue": {"rccontinue": each}} for each in "010101"], "again and again"),
        ([{"query": CHANGED, "continue": {"action": "edit"}}], "otherwise than Wikidata"),
        ([{"query": CHANGED, "continue": "on"}], "otherwise than Wikidata"),
        ([{"error": "no"}] * 60, "does not answer"),
        ([{"query": {}}], "otherwise than Wikidata"),
        ([{"query": CHANGED}, {"entities": {"Q5": "gone"}}], "otherwise than Wikidata"),
        ([{"query": CHANGED}, {"entities": {"Q5": {"id": "Q6\nQ7"}}}], "gives no item for Q5"),
        ([{"query": CHANGED}, {"entities": {"Q6": {"id": "Q6", "missing": ""}}}], "says nothing of Q5"),
        ([{"query": {"recentchanges": [{"title": "Q" + "9" * 5000}]}}], "Nothing was edited"),
    ],
)
def test_answers_of_another_kind_are_refused_and_nothing_of_them_is_kept(
    wikidata: Wikidata, tmp_path: Path, answers: list[Any], match: str
) -> None:
    wikidata.errors = list(answers)
    with pytest.raises(OpenMofiError, match=match):
        fetch_changes(SINCE, tmp_path, Quiet(), wikidata.api)
    wikidata.errors, wikidata.titles = [], ["Q5"]
    assert fetch_changes(SINCE, tmp_path, Quiet(), wikidata.api).changed


def test_a_base_is_as_wikidata_is_now(wikidata: Wikidata, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "old.json", [item(number, {"en": f"old {number}"}) for number in range(100, 130)])
    build_wikidata([dump], tmp_path / "kb", workers=1)
    differences = update_since(tmp_path / "kb", SINCE, tmp_path / "new", api=wikidata.api, workers=1)
    assert differences.counts == {"added": 97, "removed": 0, "merged": 0, "renamed": 21, "described": 0}
    new = KnowledgeBase.open(tmp_path / "new")
    assert (new["Q120"].name, new["Q121"].name, new["Q3"].id) == ("today Q120", "old 121", "Q1")
    asked = len(wikidata.asked)
    assert update_since(tmp_path / "kb", SINCE, tmp_path / "new", api=wikidata.api, workers=1) == differences
    assert len(wikidata.asked) == asked
    with pytest.raises(UsageError, match="is the base that is brought up to date"):
        update_since(tmp_path / "kb", SINCE, tmp_path / "kb", api=wikidata.api)

"""Tables of URLs → shards of pairs, from a web that misbehaves: each row has a status, and nothing is lost."""

import asyncio
import csv
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bad_web import jpeg

import openmofi
from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs import read_pairs
from openmofi.plugins.fetch import OWN, STATUSES
from openmofi.plugins.fetch import web as client
from openmofi.storage import expand_shards
from terminal import in_process

HASTY = {"read_timeout": 0.5, "timeout": 1.0, "connect_timeout": 0.5, "max_bytes": 200_000, "progress": False}
# path → status, a part of the error, requests of the path
MISBEHAVIOUR = {
    "/ok/1.jpg": ("success", "", 1),
    "/nothing.jpg": ("failed_to_download", "HTTP status 404", 1),
    "/status/403": ("failed_to_download", "HTTP status 403", 1),
    "/status/500": ("failed_to_download", "HTTP status 500", 3),
    "/busy/503/2/0": ("success", "", 3),
    "/busy/429/1/1": ("success", "", 2),
    "/busy/429/9/3600": ("failed_to_download", "try again after 3600 s", 1),
    "/silent/": ("failed_to_download", "no data received for 0.5 s", 3),
    "/drip/": ("failed_to_download", "timed out after 1 s", 3),
    "/endless/": ("failed_to_download", "larger than 200,000 bytes", 1),
    "/large/": ("failed_to_download", "larger than 200,000 bytes", 1),
    "/cut/": ("failed_to_download", "the response was cut off", 3),
    "/reset/": ("success", "", 2),
    "/garbage/": ("failed_to_download", "invalid HTTP response", 3),
    "/html.jpg": ("failed_to_decode", "HTML", 1),
    "/svg.jpg": ("failed_to_decode", "SVG", 1),
    "/noise.jpg": ("failed_to_decode", "image_broken", 1),
    "/bomb.jpg": ("failed_to_decode", "image_too_large", 1),
    "/empty.jpg": ("failed_to_decode", "no bytes", 1),
    "/text-type/": ("success", "", 1),
    "/gzip/": ("success", "", 1),
    "/noai/": ("failed_to_download", "X-Robots-Tag: noai", 1),
    "/noai-us/": ("failed_to_download", "X-Robots-Tag: noimageindex", 1),
    "/noai-others/": ("success", "", 1),
    "/hop/4": ("success", "", 1),
    "/hop/11": ("failed_to_download", "more than 5 redirects", 1),
    "/bytes/": ("failed_to_download", "HTTP status 404", 1),
    "/mess/": ("failed_to_download", "invalid URL", 1),
    "/to/ftp://x/y": ("failed_to_download", "not an absolute http", 1),
    "/to/file:///etc/passwd": ("failed_to_download", "not an absolute http", 1),
    "/forbidden/1.jpg": ("failed_to_download", "robots.txt disallows it", 0),
    "/forbidden/1.png": ("success", "", 1),
}
NO_ADDRESS = ["", "  ", "nothing", "ftp://a/b", "http://", "http://[::1", f"http://{'a' * 300}.example/x"]


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    """Of this machine's addresses one is public, and nobody waits long before another try."""
    monkeypatch.setattr(client, "WAIT", 0.01)
    monkeypatch.setattr(client, "is_public", lambda ip: ip == "127.0.0.1")


def table(path, urls, **columns):
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["URL", "TEXT", *columns])
        rows.writerows([url, f"text {number}", *columns.values()] for number, url in enumerate(urls))
    return path


def log(out):
    return [row for path in sorted(out.glob("[0-9]*.parquet")) for row in pq.read_table(path).to_pylist()]


def identity(path):
    return path.stat().st_ino, path.stat().st_mtime_ns


def same(out):
    """All that a run decides: the log without its times, and the pairs."""
    rows = [{name: value for name, value in row.items() if name != "fetched_at"} for row in log(out)]
    return rows, [pair for shard in expand_shards([str(out)]) for pair in read_pairs(shard)]


@pytest.fixture(scope="module")
def fetched(web, tmp_path_factory):
    """What comes of all misbehaviour at once: the addresses, the folder, the answer of `fetch`."""
    folder = tmp_path_factory.mktemp("fetched")
    urls = [*(web.url + path for path in MISBEHAVIOUR), *NO_ADDRESS]
    patch = pytest.MonkeyPatch()
    with patch.context() as here:
        here.setattr(client, "WAIT", 0.01)
        here.setattr(client, "is_public", lambda ip: ip == "127.0.0.1")
        web.asked.clear()
        counts = openmofi.fetch(table(folder / "urls.csv", urls, license="CC0"), folder / "pairs", **HASTY)
    return urls, folder / "pairs", counts


@pytest.mark.slow
def test_every_row_has_a_status_that_says_why(fetched, web):
    urls, out, counts = fetched
    rows = log(out)
    assert [row["url"] or "" for row in rows] == urls
    assert [row["caption"] for row in rows] == [f"text {number}" for number in range(len(urls))]
    for row, (path, (status, why, asked)) in zip(rows, MISBEHAVIOUR.items(), strict=False):
        assert (path, row["status"]) == (path, status)
        assert why in (row["error_message"] or ""), path
        assert web.asked[path] == asked, path
    assert all(row["status"] == "failed_to_download" and row["error_message"] for row in rows[len(MISBEHAVIOUR) :])
    assert {status: counts[status] for status in STATUSES} == Counter(row["status"] for row in rows)
    assert counts["rows"] == len(urls)
    assert counts["hosts"]["127.0.0.1"] == sum(status != "success" for status, *_ in MISBEHAVIOUR.values())
    assert web.asked["/robots.txt"] == 1
    assert web.agents == {f"openmofi/{openmofi.__version__}"}


@pytest.mark.slow
def test_a_shard_has_the_layout_of_img2dataset(fetched):
    urls, out, counts = fetched
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) == [
        "00000.parquet",
        "00000.tar",
        "00000_stats.json",
        "manifest.json",
    ]
    rows = {row["key"]: row for row in log(out) if row["status"] == "success"}
    assert pq.read_schema(out / "00000.parquet").names == list(OWN)
    with tarfile.open(out / "00000.tar") as tar:
        assert tar.getnames() == [f"{key}.{end}" for key in sorted(rows) for end in ("jpg", "json", "txt")]
        for key, row in rows.items():
            image = tar.extractfile(f"{key}.jpg").read()
            assert hashlib.sha256(image).hexdigest() == row["sha256"]
            assert (row["width"], row["height"], row["http_status"], row["license"]) == (32, 16, 200, "CC0")
            assert json.loads(tar.extractfile(f"{key}.json").read()) == row
            assert tar.extractfile(f"{key}.txt").read().decode() == row["caption"]
    first, *_ = rows.values()
    assert first["key"] == "000000000"
    assert first["sha256"] == hashlib.sha256(jpeg(1)).hexdigest()
    statistics = json.loads((out / "00000_stats.json").read_text())
    assert statistics["count"] == len(urls) == statistics["successes"] + sum(counts[status] for status in STATUSES[1:])
    assert sum(statistics["status_dict"].values()) == len(urls)
    assert statistics["start_time"] < statistics["end_time"]
    (shard,) = expand_shards([str(out)])
    pairs = list(read_pairs(shard))
    assert [(pair.key, pair.text, pair.url) for pair in pairs] == [
        (row["key"], row["caption"], row["url"]) for row in rows.values()
    ]


def test_an_address_of_a_private_network_is_not_connected_to(web, tmp_path, monkeypatch):
    """Given as such, behind a redirect, and behind a name, whatever that was before."""
    other, port = f"http://127.0.0.2:{web.server_port}", web.server_port
    resolved = socket.getaddrinfo

    def getaddrinfo(host, *more, **others):
        return resolved("127.0.0.2" if host == "rebound.example" else host, *more, **others)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    web.asked.clear()
    urls = [f"{other}/ok/11.jpg", f"{web.url}/to/{other}/ok/12.jpg", f"http://rebound.example:{port}/ok/13.jpg"]
    given = table(tmp_path / "urls.csv", [*urls, f"{web.url}/ok/14.jpg"])
    openmofi.fetch(given, tmp_path / "out", ignore_robots=True, **HASTY)
    rows = log(tmp_path / "out")
    assert ["127.0.0.2 is not a public address" in (row["error_message"] or "") for row in rows] == [True] * 3 + [False]
    assert set(web.asked) == {f"/to/{other}/ok/12.jpg", "/ok/14.jpg"}
    openmofi.fetch(given, tmp_path / "allowed", allow_private=True, **HASTY)
    assert {row["status"] for row in log(tmp_path / "allowed")} == {"success"}


def test_what_robots_and_tags_refuse_is_fetched_where_that_is_asked_for(web, tmp_path):
    given = table(tmp_path / "urls.csv", [f"{web.url}/forbidden/1.jpg", f"{web.url}/noai/"])
    with pytest.raises(OpenMofiError, match=r"None of 2 images could be fetched: X-Robots-Tag: noai \(1\); robots"):
        openmofi.fetch(given, tmp_path / "out", **HASTY)
    assert openmofi.fetch(given, tmp_path / "all", ignore_robots=True, allow_noai=True, **HASTY)["success"] == 2


def test_robots_are_read_for_the_name_in_the_user_agent(web, tmp_path):
    given = table(tmp_path / "urls.csv", [f"{web.url}/ok/1.jpg", f"{web.url}/noai-others/"])
    with pytest.raises(OpenMofiError, match=r"robots.txt disallows it \(2\)"):
        openmofi.fetch(given, tmp_path / "out", user_agent="OtherBot/2 (us)", **HASTY)
    other = {"user_agent": "OtherBot/2 (us)", "ignore_robots": True}
    assert openmofi.fetch(given, tmp_path / "all", **other, **HASTY)["errors"] == {"X-Robots-Tag: noai": 1}


def test_a_host_whose_robots_cannot_be_read_is_left_alone(web, tmp_path, monkeypatch):
    handler = web.RequestHandlerClass
    for status, success in ((503, 0), (429, 0), (404, 1), (401, 1)):
        monkeypatch.setattr(handler, "do_robots", lambda self, rest, status=status: self.answer(b"", status))
        given = table(tmp_path / f"{status}.csv", [f"{web.url}/ok/1.jpg", f"http://localhost:{web.server_port}/x"])
        with pytest.raises(OpenMofiError) if not success else open(os.devnull):
            openmofi.fetch(given, tmp_path / f"{status}", **HASTY)
        rows = log(tmp_path / f"{status}")
        assert (rows[0]["status"] == "success") == bool(success), status
        assert success or rows[0]["error_message"] == f"robots.txt cannot be read: HTTP status {status}"


def test_connections_to_a_host_are_few_and_apart(web, tmp_path, monkeypatch):
    at_once, most, starts = 0, 0, []
    whole = client.Web._body

    async def body(self, *given):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        try:
            return await whole(self, *given)
        finally:
            at_once -= 1

    turn = client.Web._turn

    async def turned(self, host):
        await turn(self, host)
        starts.append(asyncio.get_running_loop().time())

    monkeypatch.setattr(client.Web, "_body", body)
    monkeypatch.setattr(client.Web, "_turn", turned)
    given = table(tmp_path / "urls.csv", [f"{web.url}/ok/{number}.jpg" for number in range(40)])
    assert openmofi.fetch(given, tmp_path / "out", per_host=3, ignore_robots=True, **HASTY)["success"] == 40
    assert most == 3
    starts.clear()
    openmofi.fetch(given, tmp_path / "apart", per_host=3, host_interval=0.01, ignore_robots=True, **HASTY)
    assert starts[-1] - starts[0] >= 39 * 0.01 - 0.001


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "jsonl"])
def test_tables_of_all_kinds_are_read_and_their_columns_found(kind, web, tmp_path):
    names = ("Image URL", "Titel", "Rights", "photographer", "score", "host")
    rows = [(f"{web.url}/ok/{number}.jpg", f"Übergröße {number}", "CC BY 4.0", "Ada", 0.5, "us") for number in range(3)]
    path = tmp_path / f"urls.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    else:
        with open(path, "w", newline="", encoding="cp1252") as file:
            csv.writer(file, delimiter="\t" if kind == "tsv" else ";").writerows([names, *rows])
    openmofi.fetch(path, tmp_path / "out", text_column="Titel", keep_columns=["score", "host"], **HASTY)
    for number, row in enumerate(log(tmp_path / "out")):
        assert row["status"] == "success"
        assert (row["caption"], row["license"], row["creator"], row["score"], row["host"]) == (
            f"Übergröße {number}",
            "CC BY 4.0",
            "Ada",
            "0.5",
            "us",
        )


def test_wrong_tables_are_refused_before_anything_is_fetched(tmp_path):
    (tmp_path / "a.csv").write_text("url,size\nhttp://x/y,1\n")
    with pytest.raises(UsageError, match=r"no text column of a known name; it has: url, size\. Name it with --text"):
        openmofi.fetch(tmp_path / "a.csv", tmp_path / "out", progress=False)
    (tmp_path / "b.csv").write_text("where,text\nhttp://x/y,1\n")
    with pytest.raises(UsageError, match="no url column"):
        openmofi.fetch(tmp_path / "b.csv", tmp_path / "out", progress=False)
    (tmp_path / "c.csv").write_text("url,text\n")
    with pytest.raises(OpenMofiError, match="there are no rows"):
        openmofi.fetch(tmp_path / "c.csv", tmp_path / "out", progress=False)
    (tmp_path / "d.parquet").write_bytes(b"PAR1 or not")
    with pytest.raises(OpenMofiError, match="is not a Parquet file"):
        openmofi.fetch(tmp_path / "d.parquet", tmp_path / "out", progress=False)
    (tmp_path / "e.tar").write_bytes(b"")
    with pytest.raises(UsageError, match=r"is not a table of URLs\. Give"):
        openmofi.fetch(tmp_path / "e.tar", tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_failed_rows_are_fetched_again_and_nothing_else(web, tmp_path, monkeypatch):
    paths = [f"/ok/{number}.jpg" for number in range(20)]
    paths[3], paths[12] = "/busy/503/3/0", "/status/410"
    given = table(tmp_path / "urls.csv", [web.url + path for path in paths])
    first = openmofi.fetch(given, tmp_path / "out", shard_size=5, **HASTY)
    assert (first["success"], first["shards"]) == (18, 4)
    before, untouched = log(tmp_path / "out"), identity(tmp_path / "out/00001.tar")
    assert openmofi.fetch(given, tmp_path / "out", shard_size=5, **HASTY) == first
    asked = Counter(web.asked)
    again = openmofi.fetch(given, tmp_path / "out", shard_size=5, retry_failed=True, **HASTY)
    assert again["success"] == 19
    assert set(web.asked - asked) == {"/busy/503/3/0", "/status/410", "/robots.txt"}
    after = log(tmp_path / "out")
    assert after[:3] + after[4:12] + after[13:] == before[:3] + before[4:12] + before[13:]
    assert after[3]["status"] == "success"
    assert identity(tmp_path / "out/00001.tar") == untouched
    keys = [pair.key for shard in expand_shards([str(tmp_path / "out")]) for pair in read_pairs(shard)]
    assert keys == [row["key"] for row in after if row["status"] == "success"]
    assert json.loads((tmp_path / "out/manifest.json").read_text())["counts"] == again


def test_a_store_gets_what_a_folder_gets_and_goes_on(web, tmp_path, bucket):
    paths = [f"/ok/{number}.jpg" for number in range(20)]
    paths[3], paths[12] = "/busy/503/3/0", "/status/410"
    given = table(tmp_path / "urls.csv", [web.url + path for path in paths])
    bucket.refuse = "QuotaExceeded"
    with pytest.raises(OpenMofiError, match="quota"):
        openmofi.fetch(given, "s3://data/pairs", shard_size=5, **HASTY)
    bucket.refuse = ""
    web.asked.clear()  # how often before the store refused, depends on the time
    first = openmofi.fetch(given, "s3://data/pairs", shard_size=5, **HASTY)
    assert (first["success"], first["shards"]) == (18, 4)
    again = openmofi.fetch(given, "s3://data/pairs", shard_size=5, retry_failed=True, **HASTY)
    assert again["success"] == 19
    expected = openmofi.fetch(given, tmp_path / "out", shard_size=5, **HASTY)
    assert expected["success"] == 19
    names = {name.removeprefix("pairs/") for name in bucket.listed("pairs/") if "/." not in name}
    assert names == {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
    pairs = [pair for shard in expand_shards(["s3://data/pairs"]) for pair in read_pairs(shard)]
    assert pairs == same(tmp_path / "out")[1]


def test_a_full_disk_is_an_error_and_no_status(web, tmp_path, monkeypatch):
    from openmofi.plugins.fetch import rows

    def full(self, key, image):
        raise OSError(28, os.strerror(28))

    given = table(tmp_path / "urls.csv", [f"{web.url}/ok/1.jpg"])
    with monkeypatch.context() as here:
        here.setattr(rows.Spool, "add", full)
        with pytest.raises(OpenMofiError, match="No space left"):
            openmofi.fetch(given, tmp_path / "out", **HASTY)
    assert not list((tmp_path / "out").glob("0*"))
    assert openmofi.fetch(given, tmp_path / "out", **HASTY)["success"] == 1


def test_what_nobody_has_thought_of_is_a_status_of_its_row(web, tmp_path, monkeypatch):
    async def got(self, url, *given):
        raise RuntimeError("out of the blue\nand more")

    monkeypatch.setattr(client.Web, "_got", got)
    with pytest.raises(OpenMofiError, match=r"RuntimeError: out of the blue and more \(2\)"):
        openmofi.fetch(table(tmp_path / "u.csv", [web.url, web.url]), tmp_path / "out", ignore_robots=True, **HASTY)
    assert [row["status"] for row in log(tmp_path / "out")] == ["failed_to_download"] * 2


def test_a_large_image_is_whole_and_few_are_read_at_once(web, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "_LARGE", 1000)
    monkeypatch.setattr(client, "_LARGE_AT_ONCE", 1)
    given = table(tmp_path / "urls.csv", [f"{web.url}/large/{number}" for number in range(6)])
    assert openmofi.fetch(given, tmp_path / "out", **HASTY | {"max_bytes": 400_000})["success"] == 6
    assert {row["sha256"] for row in log(tmp_path / "out")} == {hashlib.sha256(jpeg() + bytes(300_000)).hexdigest()}


def test_a_notebook_which_has_a_loop_of_its_own_fetches_too(web, tmp_path):
    given = table(tmp_path / "urls.csv", [f"{web.url}/ok/1.jpg"])

    async def cell():
        return openmofi.fetch(given, tmp_path / "out", **HASTY)

    assert asyncio.run(cell())["success"] == 1


def test_without_the_extra_the_command_says_what_to_install(tmp_path, monkeypatch):
    for name in ("job", "rows", "web"):
        monkeypatch.delitem(sys.modules, f"openmofi.plugins.fetch.{name}")
    monkeypatch.setitem(sys.modules, "protego", None)
    with pytest.raises(OpenMofiError, match=r"needs the package 'protego'.*\[fetch\]"):
        openmofi.fetch(table(tmp_path / "urls.csv", []), tmp_path / "out", progress=False)


def test_a_host_without_robots_is_asked_again_by_the_next_shard(web, tmp_path, monkeypatch):
    answers = iter([503, 503, 503, 404])
    monkeypatch.setattr(web.RequestHandlerClass, "do_robots", lambda self, rest: self.answer(b"", next(answers)))
    given = table(tmp_path / "urls.csv", [f"{web.url}/ok/{number}.jpg" for number in range(6)])
    assert openmofi.fetch(given, tmp_path / "out", shard_size=2, **HASTY)["success"] == 4


@pytest.mark.slow
def test_a_job_that_is_killed_goes_on_and_ends_the_same(web, tmp_path):
    paths = [f"/delayed/{number}.jpg" if number % 7 else "/nothing" for number in range(60)]
    given = table(tmp_path / "urls.csv", [web.url + path for path in paths])
    script = "import sys; from openmofi.cli.main import run; sys.argv[0] = 'openmofi'; run()"
    options = ["--shard-size", "10", "--allow-private", "--per-host", "2", "-o"]
    command = [sys.executable, "-c", script, "fetch", str(given), *options]
    job = subprocess.Popen([*command, str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not (tmp_path / "killed/00001.parquet").exists() and time.monotonic() < end:
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    job.wait()
    finished = {path.name: identity(path) for path in (tmp_path / "killed").glob("0*.parquet")}
    assert 2 <= len(finished) < 6
    for out in ("killed", "whole"):
        done = subprocess.run([*command, str(tmp_path / out), "--json"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rows"] == 60
    assert same(tmp_path / "killed") == same(tmp_path / "whole")
    assert {name: identity(tmp_path / "killed" / name) for name in finished} == finished
    assert not list((tmp_path / "killed").glob("*tmp*")) + list((tmp_path / "killed").glob(".openmofi-tmp*"))


def test_the_command_says_what_failed_and_what_comes_next(web, tmp_path):
    table(tmp_path / "urls.csv", [f"{web.url}/ok/1.jpg", f"{web.url}/status/404"])
    ended = in_process("fetch", "urls.csv", "-o", "pairs", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "openmofi label pairs --kb KB --encoder ENCODER -o labels" in ended.stdout
    assert "HTTP status 404" in ended.stdout
    assert "--retry-failed" in ended.stdout
    table(tmp_path / "none.csv", [f"{web.url}/status/404"])
    ended = in_process("fetch", "none.csv", "-o", "none", cwd=tmp_path)
    assert ended.returncode == 1
    assert "None of 1 images could be fetched: HTTP status 404 (1)." in ended.stderr
    assert in_process("fetch", "none.csv", "-o", "x", "--max-bytes", "0", cwd=tmp_path).returncode == 2

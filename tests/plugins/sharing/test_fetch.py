"""What is fetched: the published base, or one sentence; a stranger's archive writes nothing but files of a base."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from kb_tables import resealed, write_source
from mounts import small_disk
from typer.testing import CliRunner
from web_server import web_server

from hostile.kills import digests, kill_and_compare
from openmofi.cli.main import app
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.plugins.sharing import fetch, sources
from openmofi.plugins.sharing.fetch import fetch_kb
from openmofi.plugins.sharing.publish import publish_kb


@pytest.fixture
def copy(published, tmp_path) -> Path:
    return shutil.copytree(published, tmp_path / "published")


@pytest.fixture
def served(copy):
    """The files of a web server, which a test may change, and its address."""
    content = {path.name: path.read_bytes() for path in copy.iterdir()}
    with web_server(content) as address:
        yield content, address


def redescribed(folder, **changes):
    """Change the description of a published base."""
    path = folder / "base.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def described(folder):
    return json.loads((folder / "base.json").read_text())


def message(address, out) -> str:
    with pytest.raises(OpenMofiError) as caught:
        fetch_kb(address, out)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    return str(caught.value)


@pytest.mark.parametrize("kind", ["good", "plain", "moved"])
def test_a_web_server_gives_the_base_that_was_published(kb, served, kind, tmp_path):
    fetched = fetch_kb(f"{served[1]}/{kind}", tmp_path / "kb")
    assert digests(fetched.path) == digests(kb.path)
    assert [path.name for path in tmp_path.iterdir() if "kb" in path.name] == ["kb"]


def test_what_is_there_is_not_fetched_again_and_another_base_is_left_alone(kb, copy, tmp_path):
    fetch_kb(copy, tmp_path / "kb")
    for part in copy.glob("part-*"):
        part.unlink()
    (tmp_path / ".kb.fetch").mkdir()  # it was killed when all was done
    assert fetch_kb(copy, tmp_path / "kb").fingerprint == kb.fingerprint
    assert not (tmp_path / ".kb.fetch").exists()
    build_table(write_source(tmp_path / "source", surfaces=[("steel", 0.5)]), tmp_path / "other")
    before = digests(tmp_path / "other")
    with pytest.raises(OpenMofiError, match="is another knowledge base"):
        fetch_kb(copy, tmp_path / "other")
    assert digests(tmp_path / "other") == before
    (tmp_path / "file").touch()
    with pytest.raises(OpenMofiError, match="is a file"):
        fetch_kb(copy, tmp_path / "file")


def test_a_killed_download_ends_in_the_same_bytes(published):
    kills, differences = kill_and_compare(lambda out: fetch_kb(published, out), 5, np.random.default_rng(5))
    assert (kills >= 5, differences) == (True, [])


@pytest.mark.parametrize("kind", ["good", "plain"])
def test_a_download_that_was_stopped_continues_at_the_byte_where_it_stopped(kb, served, kind, tmp_path, monkeypatch):
    read, asked = sources.read_blocks, []

    def stopping(path, start, end, missing):
        for block in read(path, start, end, missing):
            if path.endswith("json"):
                yield block
                continue
            asked.append((path.rpartition("/")[2][:10], start))
            yield block[:100]
            raise KeyboardInterrupt

    monkeypatch.setattr(fetch, "read_blocks", stopping)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            fetch_kb(f"{served[1]}/{kind}", tmp_path / "kb")
    assert asked == [("part-00000", 0), ("part-00000", 100), ("part-00000", 200)]
    asked.clear()

    def watching(path, start, end, missing):
        asked.append((path.rpartition("/")[2][:10], start))
        return read(path, start, end, missing)

    monkeypatch.setattr(fetch, "read_blocks", watching)
    assert digests(fetch_kb(f"{served[1]}/{kind}", tmp_path / "kb").path) == digests(kb.path)
    parts = sum(name.startswith("part-") for name in served[0])
    assert asked == [("base.json", 0), ("part-00000", 300), *((f"part-{number:05}", 0) for number in range(1, parts))]


def test_a_download_that_was_stopped_between_a_part_and_its_unpacking_continues(kb, served, tmp_path, monkeypatch):
    def stopping(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "_unpack", stopping)
        with pytest.raises(KeyboardInterrupt):
            fetch_kb(f"{served[1]}/good", tmp_path / "kb")
    del served[0][min(name for name in served[0] if name.startswith("part-"))]  # it is not asked for again
    assert digests(fetch_kb(f"{served[1]}/good", tmp_path / "kb").path) == digests(kb.path)


def test_a_connection_that_breaks_is_opened_again_for_as_long_as_something_comes(kb, published, tmp_path, monkeypatch):
    read = sources._from_store

    def breaking(path, start, end):
        broken = "part-" in path and start + 900 < end
        yield from read(path, start, start + 900 if broken else end)
        if broken:
            raise OSError("the server broke off")

    monkeypatch.setattr(sources, "_from_store", breaking)
    assert digests(fetch_kb(published, tmp_path / "kb").path) == digests(kb.path)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("500", "the server answered 500"),
        ("403", "the server answered 403"),
        ("cut", "broke off"),
        ("loop", "redirects without an end"),
        ("nosuch", None),
    ],
)
def test_a_server_that_fails_is_named_with_what_it_does(served, kind, said, tmp_path):
    content, address = served
    if said is None:
        content.clear()
        said = "base.json is missing. Nothing is published there"
    assert said in message(f"{address}/{kind}", tmp_path / "kb")


def test_a_public_server_cannot_send_to_a_private_network(served, tmp_path, monkeypatch):
    found = socket.getaddrinfo("8.8.8.8", 80)
    monkeypatch.setattr(sources.socket, "getaddrinfo", lambda *_: found)
    assert "127.0.0.1 is not a public address" in message(f"{served[1]}/moved", tmp_path / "kb")


@pytest.mark.parametrize("damage", ["cut", "longer", "flipped", "missing"])
def test_a_damaged_part_is_named_and_the_same_command_continues_once_it_is_whole(kb, served, damage, tmp_path):
    content, address = served
    names = sorted(name for name in content if name.startswith("part-"))
    whole = content[names[1]]
    content[names[1]] = {
        "cut": whole[:-1],
        "longer": whole[:-1] + b"xy",
        "flipped": whole[:-1] + bytes([whole[-1] ^ 1]),
    }.get(damage, b"")
    if damage == "missing":
        del content[names[1]]
    said = message(f"{address}/good", tmp_path / "kb")
    assert f"{names[1]} is {'missing' if damage == 'missing' else 'damaged'}" in said
    content[names[1]] = whole
    del content[names[0]]  # it is not fetched again
    assert digests(fetch_kb(f"{address}/good", tmp_path / "kb").path) == digests(kb.path)


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/etc/x",
        "relations/../../x",
        "x.txt",
        "./vectors.npy",
        "images./x.arrow",
        "images.\0.arrow",
        "",
        ".lock",
    ],
)
def test_a_name_that_no_base_has_is_refused_before_anything_is_written(copy, name, tmp_path):
    files = described(copy)["files"]
    files[-1]["name"] = name
    redescribed(copy, files=files)
    assert "which is no file of a published knowledge base" in message(copy, tmp_path / "kb")
    assert not (tmp_path / ".kb.fetch").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "has format 2; this OpenMOFI reads 1"),
        ({"kb_version": 3}, "has kb_version 3; this OpenMOFI reads 2"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"files": 3}, "base.json cannot be read"),
        ({"parts": []}, "its parts do not hold its files"),
    ],
)
def test_a_description_of_another_kind_is_refused(copy, changes, said, tmp_path):
    redescribed(copy, **changes)
    assert said in message(copy, tmp_path / "kb")


def test_a_description_that_is_none_or_contradicts_itself_is_refused(copy, tmp_path):
    was = described(copy)
    for change, said in (
        (lambda base: base["files"][1].update(offset=0), "overlaps"),
        (lambda base: base["files"][1].update(name=base["files"][0]["name"]), "twice"),
        (lambda base: base["files"][1].update(size=-1), "cannot be read"),
        (lambda base: base["parts"][0].update(name="../part"), "is no name of its part"),
        (lambda base: base["parts"][0].update(digest="x/../y", name="part-00000-x/../y.tar.zst"), "is no name"),
    ):
        base = json.loads(json.dumps(was))
        change(base)
        redescribed(copy, **base)
        assert said in message(copy, tmp_path / "kb")
    (copy / "base.json").write_bytes(b"\xff")
    assert "base.json cannot be read" in message(copy, tmp_path / "kb")


def test_a_part_that_decompresses_to_more_or_to_nothing_is_refused(copy, tmp_path):
    for content in (bytes(1 << 24), bytes(10), None):
        packed = b"no Zstandard" if content is None else pa.Codec("zstd").compress(content, asbytes=True)
        digest = hashlib.blake2b(packed, digest_size=16).hexdigest()
        parts = described(copy)["parts"]
        parts[0] |= {"name": f"part-00000-{digest}.tar.zst", "digest": digest, "size": len(packed)}
        (copy / parts[0]["name"]).write_bytes(packed)
        redescribed(copy, parts=parts)
        said = message(copy, tmp_path / "kb")
        assert "holds other content" in said or "cannot be unpacked" in said
        assert all(path.stat().st_size < 1 << 20 for path in (tmp_path / ".kb.fetch").rglob("*"))


def test_a_base_that_is_wrong_in_itself_does_not_get_to_its_place(kb, tmp_path):
    base = shutil.copytree(kb.path, tmp_path / "forged")
    rows = np.load(base / "candidates/rows.npy")
    np.save(base / "candidates/rows.npy", rows + 1000)
    with pytest.MonkeyPatch.context() as patch:  # a publisher who checks nothing
        patch.setattr(KnowledgeBase, "wrong_contents", lambda _: {})
        publish_kb(KnowledgeBase.open(resealed(base)), tmp_path / "published")
    shutil.rmtree(tmp_path / "home")
    assert "gave is damaged" in message(tmp_path / "published", tmp_path / "kb")
    assert not list((tmp_path / ".kb.fetch").glob("*"))


@pytest.mark.parametrize("name", ["entities.arrow", "ATTRIBUTION.md"])
def test_what_was_damaged_on_this_disk_is_fetched_anew(kb, served, name, tmp_path):
    content, address = served
    last = max(part for part in content if part.startswith("part-"))
    whole = content.pop(last)
    message(f"{address}/good", tmp_path / "kb")
    file = tmp_path / ".kb.fetch/files" / name
    file.write_bytes(bytes(file.stat().st_size))
    content[last] = whole
    assert name in message(f"{address}/good", tmp_path / "kb")
    assert digests(fetch_kb(f"{address}/good", tmp_path / "kb").path) == digests(kb.path)


def test_two_that_fetch_into_one_folder_get_the_base(kb, published, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        fetched = list(pool.map(lambda _: fetch_kb(published, tmp_path / "kb"), range(3)))
    assert {each.fingerprint for each in fetched} == {kb.fingerprint}
    assert digests(tmp_path / "kb") == digests(kb.path)
    assert not (tmp_path / ".kb.fetch").exists()


def test_a_disk_without_room_is_refused_before_the_download(published, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: SimpleNamespace(free=4000))
    said = message(published, tmp_path / "kb")
    assert re.search(r"The disk is full: .*/kb needs \d+ MiB, and 0 MiB are free\.", said)
    assert not list((tmp_path / ".kb.fetch").glob("part-*"))


def test_a_disk_that_fills_up_is_one_sentence_and_the_same_command_continues(kb, published, tmp_path):
    with small_disk(tmp_path / "disk", "40k") as disk:
        said = message(published, disk / "kb")
        assert "The disk is full: " in said
        assert "start the same command again" in said
        subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
        assert digests(fetch_kb(published, disk / "kb").path) == digests(kb.path)


def test_the_command_prints_the_base(kb, published, tmp_path):
    done = CliRunner().invoke(app, ["kb", "fetch", str(published), "-o", str(tmp_path / "kb"), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["fingerprint"] == kb.fingerprint
    done = CliRunner().invoke(app, ["kb", "fetch", str(tmp_path / "nothing"), "-o", str(tmp_path / "kb2")])
    assert done.exit_code == 1

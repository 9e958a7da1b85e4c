"""What is published: the same bytes, whoever stops it and however often; nothing that is not whole can be fetched."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from hostile.kills import digests, fork, kill_and_compare
from openmofi.cli.main import app
from openmofi.errors import OpenMofiError
from openmofi.plugins.sharing import publish
from openmofi.plugins.sharing.fetch import fetch_kb
from openmofi.plugins.sharing.publish import publish_kb
from openmofi.storage import claimed

PART = 4096


def parts_of(folder):
    return sorted(folder.glob("part-*"))


def test_the_parts_are_one_tar_archive_of_the_base_and_the_description_says_where_each_file_is(kb, published):
    described = json.loads((published / "base.json").read_text())
    parts = parts_of(published)
    assert [part.name for part in parts] == [part["name"] for part in described["parts"]]
    assert len(parts) > 2
    packed = pa.BufferReader(b"".join(part.read_bytes() for part in parts))
    stream = pa.CompressedInputStream(packed, "zstd").read()
    contents = [len(pa.CompressedInputStream(pa.OSFile(str(part)), "zstd").read()) for part in parts]
    assert contents == [part["content"] for part in described["parts"]]
    assert set(contents[:-1]) == {PART}
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        held = {member.name: archive.extractfile(member).read() for member in archive}
    assert held == {str(path.relative_to(kb.path)): path.read_bytes() for path in kb.path.rglob("*") if path.is_file()}
    assert held == {file["name"]: stream[file["offset"] : file["offset"] + file["size"]] for file in described["files"]}


def test_the_card_says_what_the_base_holds_its_licence_its_sources_and_how_to_fetch_it(published):
    card = (published / "README.md").read_text()
    for said in ("| entities | 7 |", "| licence | CC-BY-4.0 |", "Birds, CC BY 4.0.", "openmofi kb fetch ADDRESS"):
        assert said in card


def test_the_same_base_gives_the_same_bytes_and_another_part_size_another_archive(kb, published, tmp_path):
    publish_kb(kb.path, tmp_path / "again", licence="CC-BY-4.0", part_size=PART)
    assert digests(tmp_path / "again") == digests(published)
    publish_kb(kb, tmp_path / "one")
    assert len(parts_of(tmp_path / "one")) == 1
    assert fetch_kb(tmp_path / "one", tmp_path / "kb").fingerprint == kb.fingerprint


def test_a_killed_job_ends_in_the_same_bytes(kb):
    kills, differences = kill_and_compare(lambda out: publish_kb(kb, out, part_size=PART), 4, np.random.default_rng(3))
    assert (kills >= 4, differences) == (True, [])


def test_what_is_whole_is_not_written_again_and_what_is_missing_or_damaged_is(kb, published, tmp_path):
    out = shutil.copytree(published, tmp_path / "out")
    (out / "base.json").unlink()
    kept, missing, cut, flipped = parts_of(out)[:4]
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    flipped.write_bytes(flipped.read_bytes()[:-1] + bytes([flipped.read_bytes()[-1] ^ 1]))
    inode = kept.stat().st_ino
    publish_kb(kb, out, licence="CC-BY-4.0", part_size=PART)
    assert kept.stat().st_ino == inode
    assert digests(out) == digests(published)


def test_what_a_killed_job_left_in_a_finished_publication_is_removed(kb, published, tmp_path, monkeypatch):
    out = shutil.copytree(published, tmp_path / "out")

    def act(out):
        publish_kb(kb, out, licence="CC-BY-4.0", part_size=PART)

    with monkeypatch.context() as patch:
        patch.setattr(publish, "_is_there", lambda *_: os._exit(1))
        os.waitpid(fork(act, out), 0)
    assert digests(out) != digests(published)
    act(out)
    assert digests(out) == digests(published)


def test_an_unfinished_publication_cannot_be_fetched(kb, tmp_path, monkeypatch):
    def failing(*_):
        raise OpenMofiError("stopped")

    monkeypatch.setattr(publish, "_card", failing)
    with pytest.raises(OpenMofiError, match="stopped"):
        publish_kb(kb, tmp_path / "out", part_size=PART)
    assert parts_of(tmp_path / "out")
    with pytest.raises(OpenMofiError, match=r"base\.json is missing\. Nothing is published there, or not all"):
        fetch_kb(tmp_path / "out", tmp_path / "kb")


def test_two_writers_of_the_same_base_make_the_same_bytes_and_one_of_another_is_refused(kb, published, tmp_path):
    def write(_):
        publish_kb(kb, tmp_path / "both", licence="CC-BY-4.0", part_size=PART)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    assert digests(tmp_path / "both") == digests(published)
    with (
        claimed(tmp_path / "other", publish.KIND, {"part_size": 1}, outputs=publish.OUTPUTS),
        pytest.raises(OpenMofiError, match="is being written with other settings"),
        ThreadPoolExecutor(1) as pool,
    ):
        pool.submit(publish_kb, kb, tmp_path / "other").result()


def test_another_licence_takes_a_restart(kb, published, tmp_path):
    out = shutil.copytree(published, tmp_path / "out")
    with pytest.raises(OpenMofiError, match=r"other settings \(licence"):
        publish_kb(kb, out, licence="CC0-1.0", part_size=PART)
    assert publish_kb(kb, out, licence="CC0-1.0", part_size=PART, restart=True).licence == "CC0-1.0"
    assert "| licence | CC0-1.0 |" in (out / "README.md").read_text()


def test_a_base_that_changes_meanwhile_is_not_published(kb, tmp_path):
    base = shutil.copytree(kb.path, tmp_path / "kb")

    class Changing:
        def begin(self, stage, _):
            if stage == "publish":
                (base / "vectors.npy").write_bytes(bytes((base / "vectors.npy").stat().st_size))

        def advance(self, _):
            pass

        def say(self, _):
            pass

    with pytest.raises(OpenMofiError, match=r"vectors\.npy is not what was built"):
        publish_kb(base, tmp_path / "out", progress=Changing())
    assert not (tmp_path / "out/base.json").exists()


def test_a_store_holds_the_same_bytes_and_gets_no_part_twice(kb, bucket, tmp_path):
    for out in (tmp_path / "local", "s3://data/base"):
        publish_kb(kb, out, part_size=5 * PART)
    files = {f"base/{path.name}": path.read_bytes() for path in (tmp_path / "local").iterdir()}
    assert len(files) > 4
    assert {name: bucket.get(name) for name in bucket.listed("base/")} == files
    bucket.requests.clear()
    publish_kb(kb, "s3://data/base", part_size=5 * PART)
    assert not [path for method, path in bucket.requests if method == "PUT" and "part-" in path]
    part = min(name for name in files if "part-" in name)
    bucket.client.put_object(Bucket="data", Key=part, Body=files[part][:-1])
    publish_kb(kb, "s3://data/base", part_size=5 * PART)
    assert bucket.get(part) == files[part]
    assert fetch_kb("s3://data/base", tmp_path / "kb").fingerprint == kb.fingerprint


def test_a_full_store_is_one_sentence_and_the_same_command_continues(kb, bucket):
    bucket.refuse = "QuotaExceeded"
    with pytest.raises(OpenMofiError) as caught:
        publish_kb(kb, "s3://data/base", part_size=PART)
    assert "quota" in str(caught.value)
    assert "\n" not in str(caught.value)
    bucket.refuse = ""
    publish_kb(kb, "s3://data/base")
    assert "base/base.json" in bucket.listed()


def test_the_command_says_how_to_fetch_and_that_a_licence_is_missing(kb, tmp_path):
    base = shutil.copytree(kb.path, tmp_path / "kb")
    (base / "ATTRIBUTION.md").unlink()
    done = CliRunner().invoke(app, ["kb", "publish", str(base), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert "names no licence" in done.stdout
    assert f"openmofi kb fetch {tmp_path / 'out'} -o kb" in done.stdout
    done = CliRunner().invoke(app, ["kb", "publish", str(base), "-o", str(tmp_path / "out"), "--json"])
    assert json.loads(done.stdout)["parts"] == 1

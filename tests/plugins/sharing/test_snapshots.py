"""An index whose address is in a store: built there, read from a copy, never half there, never changed unseen."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from dataclasses import replace
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
from search_world import ColourEncoder, colour_encoder, write_colour_kb, write_images

import openmofi
from forked import worker_context
from openmofi.api.given import verdicts_of
from openmofi.cli.command import index_place
from openmofi.encoders import as_encoder
from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.sharing import indexes, snapshots
from openmofi.plugins.sharing.indexes import publish_index, published_at
from openmofi.review.verdicts import verdicts_table
from openmofi.search import Index, Query, build
from openmofi.search.records import Verdict
from openmofi.search.store.sqlite import COPY_OF
from openmofi.storage import write_table
from terminal import in_process, sentence

ADDRESS = "s3://data/index"


def server(connection):
    """A process that has the index open, and counts its images when asked."""
    index = Index.open(ADDRESS)
    connection.send("open")
    connection.recv()
    connection.send((Index(index.path).info().images, len(index.images(range(99)))))
    connection.recv()


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images")


def built(images, tmp_path, out=ADDRESS, encoder=None):
    kb = KnowledgeBase.open(tmp_path / "kb" if (tmp_path / "kb").exists() else write_colour_kb(tmp_path / "kb"))
    return openmofi.build_index(str(images), encoder=encoder or colour_encoder(), out=out, kb=kb, progress=False)


def drop(images, key):
    for path in images.glob(f"{key}.*"):
        path.unlink()


def found(index):
    return [(hit.image.id, hit.cosine) for hit in index.search(Query(text="red", limit=10)).hits]


def kept(tmp_path, pattern="*"):
    return sorted(path.name for path in (tmp_path / "home/indexes").glob(pattern) if not path.name.startswith("."))


def test_an_index_that_is_built_in_a_store_answers_as_a_local_one(images, bucket, tmp_path):
    index, local = built(images, tmp_path), built(images, tmp_path, tmp_path / "local")
    assert found(index) == found(local) != []
    assert bucket.listed("index/")[0].startswith("index/index.json")
    assert not kept(tmp_path, "work-*")
    bucket.requests.clear()
    again = Index.open(ADDRESS, colour_encoder())
    assert found(again) == found(local)
    assert not [path for _, path in bucket.requests if "part-" in path], "what this machine published it does not fetch"


def test_another_machine_reads_a_copy_and_gets_what_is_published_later(images, bucket, tmp_path, monkeypatch):
    before = found(built(images, tmp_path))
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "other"))
    other = Index.open(ADDRESS, colour_encoder())
    assert found(other) == before
    bucket.requests.clear()
    assert found(Index.open(ADDRESS, colour_encoder())) == before
    assert not [path for _, path in bucket.requests if "part-" in path], "fetched once"
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "home"))
    drop(images, "red-0")
    changes = built(images, tmp_path).changes
    assert (changes.removed, changes.added) == (1, 0)
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "other"))
    assert found(other) == before, "an open index stays what it was"
    assert Index.open(ADDRESS).info().images == other.info().images - 1


def test_a_copy_can_only_be_read(images, bucket, tmp_path):
    index = built(images, tmp_path)
    for change in (
        lambda: index.add([str(images)]),
        lambda: index.remove([str(images / "red-0.png")]),
        lambda: index.compact(),
    ):
        with pytest.raises(OpenMofiError, match="s3://data/index is read from a copy, which cannot be changed"):
            change()
    with pytest.raises(OpenMofiError, match="s3://data/index is read from a copy, which cannot be changed") as refused:
        index.add_verdict(Verdict("images", "red-0", "c:red", "n"))
    assert "remove `indexes` in $OPENMOFI_HOME" in refused.value.hint, "a damaged one is removed"
    assert str(tmp_path) not in refused.value.hint, "a server sends it to any client"
    assert len(index.verdict_table()) == 0


def test_people_read_the_address_and_not_the_folder_of_the_copy(images, bucket, tmp_path):
    index = built(images, tmp_path)
    assert index.info().path == ADDRESS
    with pytest.raises(OpenMofiError, match=r"^The index has no image 4711\. It may"):
        index.image(4711)
    colours = ColourEncoder()
    colours.fingerprint = "colours-2"
    with pytest.raises(OpenMofiError, match=f"^{ADDRESS} was built with the encoder"):
        Index.open(ADDRESS, as_encoder(colours))
    write_table(tmp_path / "v.parquet", index.verdict_table())
    for command in (["info"], ["verify"], ["add", images], ["compact"], ["verdicts", "--from", tmp_path / "v.parquet"]):
        done = in_process("index", command[0], ADDRESS, *command[1:])
        assert str(tmp_path / "home") not in done.stdout + done.stderr, command


def test_inputs_are_looked_at_before_the_store_is_asked(bucket, tmp_path):
    bucket.requests.clear()
    missing = in_process("index", "build", tmp_path / "none", "--encoder", "tiny", "-o", ADDRESS)
    assert "none" in sentence(missing, 2)
    assert not bucket.requests


def test_after_an_error_the_next_build_goes_on_and_the_store_has_what_it_had(images, bucket, tmp_path):
    before = found(built(images, tmp_path))
    drop(images, "red-0")
    bucket.refuse = "QuotaExceeded"
    with pytest.raises(OpenMofiError, match="quota"):
        built(images, tmp_path)
    bucket.refuse = ""
    assert len(kept(tmp_path, "work-*")) == 1
    assert found(Index.open(ADDRESS, colour_encoder())) == before
    colours = ColourEncoder()
    encoder = as_encoder(colours)
    colours.images = 0  # it was tried out
    assert built(images, tmp_path, encoder=encoder).info().images == 29
    assert colours.images == 0, "nothing is embedded again"
    assert not kept(tmp_path, "work-*")


def test_of_two_writers_the_second_is_told(images, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr("openmofi.search.store.database.now", lambda: "2026-12-01T22:01:42Z")  # in the same second
    built(images, tmp_path)
    kb, encoder = KnowledgeBase.open(tmp_path / "kb"), colour_encoder()
    drop(images, "red-0")
    build([str(images)], encoder, tmp_path / "others", kb=kb)

    def both():
        with snapshots.index_in_store(ADDRESS, None, Quiet()) as folder:
            build([str(images)], encoder, folder, kb=kb)
            publish_index(tmp_path / "others", ADDRESS)

    with pytest.raises(OpenMofiError, match="was published anew by another process meanwhile"):
        both()
    assert found(Index.open(ADDRESS, encoder)) == found(Index.open(tmp_path / "others", encoder))
    assert not kept(tmp_path, "work-*")


@pytest.mark.parametrize(
    ("path", "taken"), [("s3://data/pairs/x.tar", True), ("s3://data2/x.tar", False), ("https://host/x.jpg", False)]
)
def test_a_strangers_index_may_ask_for_nothing_outside_of_its_bucket(images, bucket, tmp_path, path, taken):
    kb = KnowledgeBase.open(write_colour_kb(tmp_path / "kb"))
    build([str(images)], colour_encoder(), tmp_path / "local", kb=kb)
    connection = Index.open(tmp_path / "local").connection
    connection.execute("UPDATE sources SET path = ?", (path,))
    publish_index(tmp_path / "local", ADDRESS)
    if taken:
        assert Index.open(ADDRESS).info().images > 10
        return
    with pytest.raises(UsageError, match="lie at addresses, such as") as refused:
        Index.open(ADDRESS)
    assert "index fetch ADDRESS -o INDEX --addresses" in refused.value.hint
    assert not kept(tmp_path, "[!.]*")


def test_a_fingerprint_that_is_a_path_leads_nowhere(images, bucket, tmp_path):
    built(images, tmp_path)
    described = json.loads(bucket.get("index/index.json"))
    bucket.client.put_object(
        Bucket="data", Key="index/index.json", Body=json.dumps(described | {"fingerprint": "../../../x"}).encode()
    )
    with pytest.raises(OpenMofiError, match="is damaged: the whole is not what the description says"):
        Index.open(ADDRESS)
    assert not (tmp_path / "x").exists()
    assert all((tmp_path / "home/indexes").resolve() == path.parent for path in (tmp_path / "home/indexes").iterdir())


def test_the_oldest_copies_go(images, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "_KEPT", 2)
    for number in range(4):
        drop(images, f"red-{number}")
        index = built(images, tmp_path)
        assert len(kept(tmp_path)) == min(number + 1, 2)
    assert found(index)


def on_nfs(file, way):
    # As flock(2) says of NFS: an exclusive lock takes a file that is open for writing.
    if way & fcntl.LOCK_EX and fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")


def without_locks(file, way):
    raise OSError(errno.ENOLCK, "No locks available")


def in_use(file, way):
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


@pytest.mark.parametrize(("flock", "left"), [(on_nfs, 1), (without_locks, 1), (in_use, 3)])
def test_the_oldest_copies_go_on_other_file_systems_too(tmp_path, monkeypatch, flock, left):
    monkeypatch.setattr(snapshots, "_KEPT", 1)
    monkeypatch.setattr(snapshots, "fcntl", SimpleNamespace(flock=flock, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB))
    for number in range(3):
        folder = tmp_path / f"copy-{number}"
        folder.mkdir()
        snapshots._close(folder, ADDRESS)
        os.utime(folder / COPY_OF, (number, number))
    snapshots._close(folder, ADDRESS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy-0", "copy-1", "copy-2"][-left:]


@pytest.fixture
def judged(images, tmp_path):
    """A local index of the colours with a verdict, and what its table says of the labels."""
    local = built(images, tmp_path, tmp_path / "local")
    local.add_verdict(Verdict("images", "red-0", "c:red", "n"))
    (row,) = local.verdict_table().to_pylist()
    strata = [{"name": "red", "accepted": True, "labels": 1}]
    head = {"labels": "x", "basis": "", "encoder": "x", "kb": "x", "strata": strata}
    return local, verdicts_table([row | {"stratum": 0, "probability": 0.9}], head)


def test_verdicts_are_those_of_an_index_in_a_store(judged, bucket, tmp_path, monkeypatch):
    local, table = judged
    publish_index(local.path, ADDRESS)
    monkeypatch.setattr(Index, "verdict_table", lambda self: table)
    assert verdicts_of(index_place(ADDRESS)).path == ADDRESS
    read = [verdicts_of(place) for place in (f"{ADDRESS}/", local.path)]
    assert read[0].verdicts == read[1].verdicts
    assert [(each.key, each.verdict) for each in read[0].verdicts] == [("red-0", "n")]
    monkeypatch.undo()


def test_verdicts_are_those_of_a_file_in_a_store(judged, bucket, tmp_path):
    write_table(tmp_path / "v.parquet", judged[1])
    bucket.client.put_object(Bucket="data", Key="v.parquet", Body=(tmp_path / "v.parquet").read_bytes())
    (verdict,) = verdicts_of(index_place("s3://data/v.parquet")).verdicts
    assert (verdict.key, verdict.verdict) == ("red-0", "n")
    with pytest.raises(OpenMofiError, match="s3://data/none cannot be read as verdicts"):
        verdicts_of("s3://data/none")
    bucket.client.put_object(Bucket="data", Key="other/x.txt", Body=b"x")
    with pytest.raises(OpenMofiError, match="s3://data/other is not an index"):
        verdicts_of("s3://data/other")


def test_commands_read_and_write_it(images, bucket, tmp_path):
    nothing = sentence(in_process("search", ADDRESS, "--text", "red"), 1)
    assert "s3://data/index is not an index: it has no index.json" in nothing
    assert not [key for key in bucket.listed() if not key.startswith("index/")]
    done = in_process("index", "build", images, "--encoder", "tiny", "-o", ADDRESS, "--json")
    assert done.returncode == 0, done.stderr
    count = json.loads(done.stdout)["added"]
    shown = in_process("index", "info", ADDRESS, "--json")
    assert json.loads(shown.stdout)["images"] >= count > 10
    done = in_process("search", ADDRESS, images / "red-0.png", "--json")
    assert done.returncode == 0, done.stderr
    hits = json.loads(done.stdout)
    assert hits["hits"][0]["image"]["path"].endswith("red-0.png")
    assert "is read from a copy" in sentence(in_process("index", "add", ADDRESS, images), 1)


def test_a_build_names_what_it_could_not_use(images, bucket, tmp_path):
    (images / "cut-off.png").write_bytes((images / "red-0.png").read_bytes()[:60])
    done = in_process("index", "build", images, "--encoder", "tiny", "-o", ADDRESS)
    assert done.returncode == 0, done.stderr
    named = Path(done.stdout.partition("and why: ")[2].strip())
    assert named.parent.parent == tmp_path / "home/indexes"
    assert ",cut-off," in named.read_text()


def test_other_addresses_are_no_index(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for address in ("memory://x", "https://host/index"):
        message = sentence(in_process("search", address, "--text", "red"), 2)
        assert f"{address} cannot be an index" in message
    assert not list(tmp_path.iterdir())


def test_of_two_that_publish_at_once_the_second_is_told(images, bucket, tmp_path, monkeypatch):
    built(images, tmp_path)
    kb, encoder = KnowledgeBase.open(tmp_path / "kb"), colour_encoder()
    other, more = tmp_path / "others", write_images(tmp_path / "more")
    build([str(images)], encoder, other, kb=kb)
    build([str(more)], encoder, other, kb=kb)
    there, checks = published_at(ADDRESS), []
    begun = there.fingerprint
    required = indexes._require_published

    def overtaken(address, content):
        # Between the first look and the last, as where a lock in the store was taken over.
        required(address, content)
        if len(checks) == 0:
            checks.append(content)
            monkeypatch.setattr(indexes, "published_at", lambda address: replace(there, fingerprint="0" * 16))

    monkeypatch.setattr(indexes, "_require_published", overtaken)
    with pytest.raises(OpenMofiError, match="was published anew by another process meanwhile"):
        publish_index(other, ADDRESS, replaces=begun)
    monkeypatch.undo()
    assert published_at(ADDRESS).fingerprint == begun


def test_what_another_build_left_is_not_published(images, bucket, tmp_path):
    private = write_images(tmp_path / "private")
    bucket.refuse = "QuotaExceeded"
    with pytest.raises(OpenMofiError, match="quota"):
        built(private, tmp_path)
    bucket.refuse = ""
    assert built(images, tmp_path).info().images == built(images, tmp_path, tmp_path / "local").info().images
    assert not kept(tmp_path, "work-*")


def test_a_copy_that_is_not_marked_as_whole_is_fetched_again(images, bucket, tmp_path):
    before = found(built(images, tmp_path))
    (name,) = kept(tmp_path)
    copy = tmp_path / "home/indexes" / name
    (copy / COPY_OF).unlink()
    for path in (copy / "index.db", *copy.glob("vectors/*")):
        path.unlink()
    assert found(Index.open(ADDRESS, colour_encoder())) == before
    (copy / COPY_OF).unlink()
    (copy / "index.db").unlink()
    drop(images, "red-0")
    assert built(images, tmp_path).info().images == 29


def test_a_build_holds_its_folder_until_it_is_a_copy(images, bucket, tmp_path):
    kb, encoder = KnowledgeBase.open(write_colour_kb(tmp_path / "kb")), colour_encoder()
    with snapshots.index_in_store(ADDRESS, None, Quiet()) as folder:
        second = Thread(target=built, args=(images, tmp_path), daemon=True)
        second.start()
        build([str(images)], encoder, folder, kb=kb)
        assert [path.name for path in folder.parent.glob("work-*")] == [folder.name]
    second.join(60)
    assert not second.is_alive()
    assert not kept(tmp_path, "work-*")
    assert found(Index.open(ADDRESS, encoder)) != []


def test_a_bucket_of_the_hub_is_one_repository(monkeypatch):
    seen = []
    monkeypatch.setattr(snapshots, "fetch_published", lambda *arguments: seen.append(arguments[4].keywords["within"]))
    monkeypatch.setattr(snapshots, "_close", lambda *_: None)
    for address in ("hf://datasets/me/index/x", "s3://data/index"):
        snapshots._fetch(address, Path("none/there"), False, Quiet())
    assert seen == ["hf://datasets/me/index/", "s3://data/"]


def test_a_copy_that_is_open_stays(images, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "_KEPT", 1)
    built(images, tmp_path)
    (first,) = kept(tmp_path)
    context = worker_context()
    ours, theirs = context.Pipe()
    process = context.Process(server, (theirs,))
    process.start()
    theirs.close()
    with ours:
        assert ours.recv() == "open"
        for number in range(2):
            drop(images, f"red-{number}")
            built(images, tmp_path)
        assert first in kept(tmp_path)
        assert len(kept(tmp_path)) == 2
        ours.send("count")
        assert ours.recv() == (30, 30)
        ours.send("end")
    process.join()
    drop(images, "red-2")
    assert built(images, tmp_path).info().images == 27
    assert len(kept(tmp_path)) == 1

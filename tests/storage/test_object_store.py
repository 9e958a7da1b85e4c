"""Files, listings and locks in a store of objects: a real S3 server on this machine."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from openmofi.engine import LocalEngine, Quiet, two_pass
from openmofi.engine.steps import Running
from openmofi.engine.two_pass import merged, merged_in_tasks
from openmofi.errors import OpenMofiError
from openmofi.labeling import group_merge
from openmofi.labeling.group_merge import merge_groups
from openmofi.labeling.groups import PairKeys
from openmofi.mentions.repeats import RepeatMerge, summary
from openmofi.storage import (
    Outputs,
    Shard,
    claimed,
    exists,
    expand_shards,
    file_fingerprint,
    finish_manifest,
    read_arrow,
    write_arrow,
    write_json,
    write_table,
)
from openmofi.storage.addresses import present
from openmofi.storage.folders import local_folder, written_folder
from openmofi.storage.locks import StoreLock
from openmofi.storage.shards import take_fingerprints
from openmofi.storage.table_files import footers, read_arrow_blocks, table_footer, whole

pytestmark = pytest.mark.slow

NAMED = "s3://data/x/0123456789abcdef"
TABLE = pa.table({"a": list(range(1000))})


@pytest.fixture
def store(bucket, tmp_path, monkeypatch):
    """Beside it, nothing is written here."""
    monkeypatch.chdir(tmp_path)
    yield bucket
    assert {path.name for path in tmp_path.iterdir()} <= {"home", "local"}, "a local folder has the name of a store"


def asked(store):
    return sum(store.requests.values())


def test_a_table_is_one_request_to_write_and_none_to_read_where_it_was_made(store):
    write_table(f"{NAMED}/t.parquet", TABLE, {"note": "n"})
    assert asked(store) == 1
    assert table_footer(f"{NAMED}/t.parquet").notes["note"] == "n"
    write_arrow(f"{NAMED}.arrow", TABLE)
    assert read_arrow(f"{NAMED}.arrow").equals(TABLE)
    assert asked(store) == 2


def test_elsewhere_a_footer_is_one_request_however_long_it_is(store, tmp_path):
    write_table(f"{NAMED}/t.parquet", TABLE, {"note": "n"})
    write_table(
        f"{NAMED}/long.parquet", TABLE, {"note": "".join(map(chr, np.random.default_rng(0).integers(32, 127, 200_000)))}
    )
    (tmp_path / "home").rename(tmp_path / "local")
    store.requests.clear()
    assert table_footer(f"{NAMED}/t.parquet").rows == 1000
    assert asked(store) == 1
    assert len(table_footer(f"{NAMED}/long.parquet").notes["note"]) == 200_000
    assert table_footer(f"{NAMED}/absent.parquet") is None


def test_files_are_asked_for_by_listings(store):
    paths = [f"{NAMED}/{number}.parquet" for number in range(12)]
    for path in paths[::2]:
        write_table(path, TABLE)
    store.requests.clear()
    assert present(paths) == set(paths[::2])
    assert list(whole(paths)) == [True, False] * 6
    assert [footer is not None for footer in footers(paths)] == [True, False] * 6
    assert asked(store) == 3
    assert present(["s3://data/nowhere/x.parquet"]) == set()


def test_what_is_written_is_listed_at_once(store):
    for number in range(5):
        write_json(f"s3://data/out/{number}.json", number)
        assert present([f"s3://data/out/{each}.json" for each in range(6)]) == {
            f"s3://data/out/{each}.json" for each in range(number + 1)
        }


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 21) + 5, (1 << 22) + 5])
def test_a_fingerprint_is_that_of_the_same_file_here(store, tmp_path, size):
    local = tmp_path / "local"
    local.mkdir()
    (local / "a.tar").write_bytes(np.random.default_rng(0).bytes(size))
    store.put_folder(local, "pairs")
    assert file_fingerprint("s3://data/pairs/a.tar") == file_fingerprint(local / "a.tar")
    shards = expand_shards(["s3://data/pairs"])
    take_fingerprints(shards)
    assert [shard.__dict__["fingerprint"] for shard in shards] == [file_fingerprint(local / "a.tar")]
    assert file_fingerprint("s3://data/pairs") == file_fingerprint(local)


def test_fingerprints_are_taken_again_only_where_an_object_has_changed(store, tmp_path):
    local = tmp_path / "local"
    local.mkdir()
    for name in "abc":
        (local / f"{name}.tar").write_bytes(name.encode() * 4_000_000)
    store.put_folder(local, "pairs")
    first = expand_shards(["s3://data/pairs"])
    take_fingerprints(first)
    (local / "b.tar").write_bytes(b"b" * 2_000_000 + b"B" + b"b" * 1_999_999)
    store.put_folder(local, "pairs")
    store.requests.clear()
    second = expand_shards(["s3://data/pairs"])
    take_fingerprints(second)
    assert [a.fingerprint == b.fingerprint for a, b in zip(first, second, strict=True)] == [True, False, True]
    assert sum(count for (_, path), count in store.requests.items() if path.endswith(".tar")) == 1
    store.requests.clear()
    for shard in (first[0], *second):
        shard.require_unchanged()
    assert not any(method == "GET" for method, path in store.requests if path.endswith(".tar"))
    with pytest.raises(OpenMofiError, match=r"b\.tar has changed since the job began"):
        first[1].require_unchanged()


def test_a_shard_that_is_not_there(store):
    with pytest.raises(OpenMofiError, match=r"s3://data/none/a\.tar"):
        _ = Shard("s3://data/none/a.tar", "a").fingerprint


def test_folders_are_fetched_once_and_anew_when_they_change(store, tmp_path):
    local = tmp_path / "local"
    (local / "inner").mkdir(parents=True)
    (local / "inner/a").write_bytes(b"a")
    with written_folder("s3://data/folder", "last") as folder:
        (folder / "inner").mkdir()
        (folder / "inner/a").write_bytes(b"a")
        (folder / "last").write_bytes(b"")
    store.requests.clear()
    copy = local_folder("s3://data/folder")
    assert (copy / "inner/a").read_bytes() == b"a"
    before = asked(store)
    assert local_folder("s3://data/folder") == copy
    assert asked(store) == before + 1
    time.sleep(1)  # the store's times are of whole seconds
    store.client.put_object(Bucket="data", Key="folder/inner/a", Body=b"b")
    assert (local_folder("s3://data/folder") / "inner/a").read_bytes() == b"b"
    with pytest.raises(OpenMofiError, match="nothing is stored there"):
        local_folder("s3://data/nothing")


def claim(settings=1, **others):
    return claimed("s3://data/out", "labels", {"a": settings}, outputs=Outputs(("rows/*.txt",)), stores=True, **others)


def test_a_claim_is_kept_and_refuses_other_settings(store):
    with claim() as manifest:
        write_json("s3://data/out/rows/0.txt", 0)
        with ThreadPoolExecutor() as pool, pytest.raises(OpenMofiError, match="is being written with other settings"):
            pool.submit(lambda: claim(2).__enter__()).result()
        finish_manifest("s3://data/out", manifest, {})
    assert store.listed("out") == ["out/manifest.json", "out/rows/0.txt"]
    with claim() as manifest:
        assert manifest.finished
    with pytest.raises(OpenMofiError, match="was made with other settings"), claim(2):
        pass
    with claim(2, restart=True):
        assert store.listed("out") == ["out/.openmofi.lock", "out/manifest.json"]
    assert store.listed("out") == ["out/manifest.json"]


def test_only_one_of_two_gets_the_lock(store):
    first, second = StoreLock("s3://data/out"), StoreLock("s3://data/out")
    assert first.acquire()
    assert not second.acquire()
    first.introduce()
    assert f"process {os.getpid()} on" in second.holder()
    first.release()
    assert second.acquire()
    second.release()
    assert not store.listed()


def test_a_holder_that_has_ended_here_gives_way_at_once(store):
    ended = os.fork()
    if not ended:
        os._exit(0)
    os.waitpid(ended, 0)
    note = StoreLock("s3://data/out")._note(3).replace(b'"process": %d' % os.getpid(), b'"process": %d' % ended)
    store.client.put_object(Bucket="data", Key="out/.openmofi.lock", Body=note)
    lock = StoreLock("s3://data/out")
    assert lock.acquire()
    lock.release()


def test_a_holder_elsewhere_gives_way_when_it_is_silent_and_not_before(store):
    """Its note is of another machine; clocks do not matter, only that the note stays as it is."""
    note = b'{"lock": "theirs", "beat": %d, "host": "elsewhere", "process": 1}'
    lock = StoreLock("s3://data/out", beat=0.2, lease=0.6)
    for beat in range(4):
        store.client.put_object(Bucket="data", Key="out/.openmofi.lock", Body=note % beat)
        assert not lock.acquire()
        time.sleep(0.4)
    while not lock.acquire():
        time.sleep(0.1)
    lock.require_held()
    store.client.put_object(Bucket="data", Key="out/.openmofi.lock", Body=note % 9)
    while not lock._lost:
        time.sleep(0.05)
    with pytest.raises(OpenMofiError, match="was taken over"):
        lock.require_held()
    lock.release()
    assert store.listed("out") == ["out/.openmofi.lock"], "the other's lock stays"


def test_a_lock_beats_while_it_is_held(store):
    lock = StoreLock("s3://data/out", beat=0.1)
    assert lock.acquire()
    first = lock._read()
    while lock._read() == first:
        time.sleep(0.05)
    lock.release()


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ("AccessDenied", "cannot be written: Access Denied"),
        ("RequestTimeTooSkewed", "difference between the request time and the current time is too large"),
        ("QuotaExceeded", "quota of the bucket is used up"),
    ],
)
def test_what_a_store_refuses_is_a_sentence(store, refusal, said):
    store.refuse = refusal
    with pytest.raises(OpenMofiError, match=said) as caught:
        write_json("s3://data/out/a.json", 1)
    assert "s3://data/out/a.json" in caught.value.message


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ("AccessDenied", "(Access Denied|Forbidden)"),
        ("RequestTimeTooSkewed", "(current time is too large|Forbidden)"),
    ],
)
def test_pairs_that_may_not_be_read_are_a_sentence(store, refusal, said):
    """By a list, by a request for the head of an object, whose refusal has no body, and by one for its content."""
    store.refuse, store.refuse_reads = refusal, True
    for read in (
        lambda: expand_shards(["s3://data/pairs"]),
        lambda: expand_shards(["s3://data/pairs/a.tar"]),
        lambda: file_fingerprint("s3://data/pairs/a.tar"),
        lambda: take_fingerprints([Shard("s3://data/pairs/a.tar", "a")]),
    ):
        with pytest.raises(OpenMofiError, match=said) as caught:
            read()
        assert "s3://data/pairs" in caught.value.message
        assert "Errno" not in caught.value.message


def test_a_bucket_that_is_not_there_or_elsewhere(store):
    with pytest.raises(OpenMofiError, match="no such bucket"):
        write_json("s3://nowhere/a.json", 1)
    store.refuse = "PermanentRedirect"
    with pytest.raises(OpenMofiError, match="another endpoint"):
        write_json("s3://data/a.json", 1)


def test_no_credentials(store, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(Path.cwd() / "home"))
    with pytest.raises(OpenMofiError, match="redentials"):
        write_json("s3://data/out/a.json", 1)


def test_failures_of_the_store_are_tried_again(store):
    store.failing = 0.2
    for number in range(10):
        write_json(f"s3://data/out/{number}.json", number)
        assert exists(f"s3://data/out/{number}.json")
    assert asked(store) > 20


def test_waiting_for_a_lock_polls_slowly(store, monkeypatch):
    """Each poll is a request."""
    waits, first = [], StoreLock("s3://data/out")
    assert first.acquire()
    first.introduce()

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            first.release()

    monkeypatch.setattr("openmofi.storage.claims.time", SimpleNamespace(sleep=sleep))
    with claim() as manifest:
        assert not manifest.finished
    assert waits == [5.0] * 3


def test_what_a_corpus_repeats_is_merged_in_a_store(store, monkeypatch):
    monkeypatch.setattr(two_pass, "PART", 2)
    shards = [Shard("", str(number)) for number in range(9)]
    texts = "one and the same text of many"
    parts = [
        summary([f"{texts} {number % 2}"] * 4, [f"{4 * number + row:016x}" for row in range(4)]) for number in range(9)
    ]

    def blocks(shards):
        return [parts[int(shard.name)] for shard in shards]

    merge = RepeatMerge(36, sum(map(len, parts)))
    found = merged_in_tasks(merge, blocks, shards, "s3://data/repeats.parquet", Running(LocalEngine(), Quiet()))
    assert len(found)
    assert found.equals(merged(merge, lambda: parts))
    assert not store.listed("repeats.parquet.parts")


def test_groups_are_merged_in_a_store(store, monkeypatch, tmp_path):
    monkeypatch.setattr(two_pass, "PART", 2)
    monkeypatch.setattr(group_merge, "_RANGE", 20)
    shards = [Shard("", str(number)) for number in range(5)]
    draw = np.random.default_rng(0)
    keys = draw.integers(0, 100, (5, 3, 30)) + np.array([[0], [100], [200]])
    blocks = [PairKeys(block.astype(np.uint64) << np.uint64(55)) for block in keys]
    for path in ("s3://data/groups.arrow", f"{tmp_path}/local/groups.arrow"):
        running = Running(LocalEngine(), Quiet())
        merge_groups(path, lambda some: [blocks[int(shard.name)] for shard in some], shards, 150, running)
    assert len(set(read_arrow("s3://data/groups.arrow")["group"].to_pylist())) > 5
    assert read_arrow("s3://data/groups.arrow").equals(read_arrow(tmp_path / "local/groups.arrow"))
    assert store.listed("groups") == ["groups.arrow"]


def test_of_other_columns_nothing_is_fetched(store):
    table = pa.table({"wide": [bytes(1000)] * 5000, "narrow": list(range(5000)), "behind": [bytes(1000)] * 5000})
    write_arrow("s3://data/table.arrow", table)
    before, asked_before = store.sent, asked(store)
    [narrow] = read_arrow_blocks("s3://data/table.arrow", ["narrow"])
    assert narrow.equals(table.select(["narrow"]))
    assert store.sent - before < 500_000 < table.nbytes / 10
    assert asked(store) - asked_before <= 6

"""The whole label job where everything lies in a store: a real S3 server, which also fails, delays and refuses."""

import json
import os
import threading
import time

import numpy as np
import pyarrow.compute as pc
import pytest
from object_store import used

import openmofi
from forked import Fork
from hostile.workbench import colour_encoder
from openmofi.cli.jobs import status
from openmofi.errors import OpenMofiError
from openmofi.pairs import read_pairs
from openmofi.storage import expand_shards
from openmofi.storage.locks import StoreLock
from openmofi.storage.shards import take_fingerprints

pytestmark = pytest.mark.slow

SHARDS = 4


@pytest.fixture(scope="module")
def near(small_world, tmp_path_factory):
    """The labels as they are made from local folders."""
    return openmofi.label(
        small_world.shards,
        kb=small_world.kb,
        encoder=colour_encoder(),
        progress=False,
        out=tmp_path_factory.mktemp("near") / "labels",
    )


@pytest.fixture(scope="module")
def filled(small_world, object_server):
    """The store with the small world's pairs and knowledge base."""
    store = object_server[0]
    store.clear()
    store.put_folder(small_world.shards, "pairs")
    store.put_folder(small_world.kb, "kb")
    return object_server


@pytest.fixture
def store(filled, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with used(*filled, tmp_path / "home", monkeypatch) as found:
        yield found
    assert not list((tmp_path / "here").iterdir()), "a local folder has the name of a store"


def label(out, engine="local", encoder=None, **others):
    """By default with an encoder that takes no time: what is tested is where things lie."""
    return openmofi.label(
        "s3://data/pairs",
        kb="s3://data/kb",
        encoder=encoder or colour_encoder(),
        out=out,
        engine=engine,
        progress=False,
        **others,
    )


def same(store, folder, out):
    """Whether the labels in the store are those that were made locally, to the byte."""
    paths = sorted((folder / "labels").glob("*.parquet"))
    return [store.get(f"{out}/labels/{path.name}") for path in paths] == [path.read_bytes() for path in paths]


def of_shards(store):
    """Requests for objects that are named by a shard."""
    return sum(count for (_, path), count in store.requests.items() if "/0000" in path)


def test_labels_are_the_local_jobs_at_six_requests_a_shard_and_then_five(store, near, tmp_path):
    found = label("s3://data/first")
    assert same(store, near.path, "first")
    assert of_shards(store) == 6 * SHARDS
    listings = store.requests["GET", "/data"]
    store.requests.clear()
    label("s3://data/second")
    assert of_shards(store) == 5 * SHARDS
    assert listings < 120, "listings do not grow with the shards"
    store.requests.clear()
    again = label("s3://data/first")
    assert of_shards(store) == 0
    assert again.summary == found.summary
    both = [
        openmofi.build_dataset(labels, out=tmp_path / name, kb="s3://data/kb", report=False).summary
        for labels, name in ((found, "far"), (near, "near"))
    ]
    assert both[0] == both[1]


def test_a_shard_that_has_changed_since_gives_no_pair_and_one_that_has_not_is_one_request(store, small_world):
    store.put_folder(small_world.shards, "changing")
    shards = expand_shards(["s3://data/changing"])
    take_fingerprints(shards)
    store.requests.clear()
    assert len(list(read_pairs(shards[0]))) == len(list(read_pairs(expand_shards([str(small_world.shards)])[0])))
    assert of_shards(store) == 1
    store.client.put_object(Bucket="data", Key="changing/00000.tar", Body=store.get("changing/00001.tar"))
    with pytest.raises(OpenMofiError, match=r"00000\.tar has changed since the job began"):
        next(read_pairs(shards[0]))
    assert next(read_pairs(shards[1])).key


def test_a_dataset_in_a_store_is_the_local_one(store, near, tmp_path):
    label("s3://data/built")
    far = openmofi.build_dataset("s3://data/built", out="s3://data/dataset", kb="s3://data/kb")
    local = openmofi.build_dataset(near, out=tmp_path / "dataset", kb="s3://data/kb")
    assert far.summary == local.summary
    assert list(far) == list(local)
    files = [path for path in (tmp_path / "dataset").rglob("*.*") if path.suffix in (".parquet", ".html", ".json")]
    stored = {path.relative_to(tmp_path / "dataset").as_posix(): path.read_bytes() for path in files}
    assert len(stored) >= SHARDS + 4
    for name in ("vocabulary.parquet", "statistics.json"):
        assert store.get(f"dataset/{name}") == stored[name]
    assert set(stored) <= {name.removeprefix("dataset/") for name in store.listed("dataset")}
    with pytest.raises(OpenMofiError, match="min_images"):
        openmofi.build_dataset("s3://data/built", out="s3://data/dataset", kb="s3://data/kb", min_images=3)


def test_labels_in_a_store_are_indexed_as_local_ones(store, near, tmp_path):
    label("s3://data/indexed")
    found = {}
    for name, labels in (("far", "s3://data/indexed"), ("near", str(near.path))):
        index = openmofi.build_index([labels], encoder=colour_encoder(), out=tmp_path / name, progress=False)
        hits = index.search("a red apple").limit(5).hits
        found[name] = [(hit.image.key, hit.probability, hit.image.labels) for hit in hits]
    assert found["far"] == found["near"]
    assert any(labels for *_, labels in found["far"])


def test_the_state_of_a_job_in_the_store(store, capsys):
    label("s3://data/state")

    def said():
        status("s3://data/state", as_json=True)
        return json.loads(capsys.readouterr().out)

    assert (said()["state"], said()["kind"], said()["writer"]) == ("finished", "labels", "")
    lock = StoreLock("s3://data/state")
    assert lock.acquire()
    lock.introduce()
    assert said()["state"] == "running"
    assert said()["writer"].startswith(f"process {os.getpid()} on")
    lock.release()


def test_on_another_machine_a_job_goes_on_with_what_is_stored(store, near, tmp_path, monkeypatch):
    label("s3://data/elsewhere")
    for key in store.listed("elsewhere/labels")[1:]:
        store.client.delete_object(Bucket="data", Key=key)
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "other"))
    label("s3://data/elsewhere")
    assert same(store, near.path, "elsewhere")


def test_a_shared_cache_in_the_store_is_used_by_a_local_output(store, near, tmp_path):
    label(tmp_path / "one", cache="s3://data/cache")
    store.requests.clear()
    label(tmp_path / "two", cache="s3://data/cache", threshold=0.7)
    assert not any(method == "PUT" for method, _ in store.requests)
    assert [path.read_bytes() for path in sorted((tmp_path / "one/labels").iterdir())] == [
        path.read_bytes() for path in sorted((near.path / "labels").iterdir())
    ]


def test_a_twentieth_of_all_requests_may_fail(store, near):
    store.failing = 0.05
    label("s3://data/failing")
    assert same(store, near.path, "failing")


def test_an_adapter_is_kept_in_the_store_and_opens_from_there(store, small_encoder):
    found = label("s3://data/adapted", encoder=small_encoder, adapt=True)
    assert "adapter" in found.summary
    adapter = openmofi.load_encoder("run:s3://data/adapted/adapter")
    assert adapter.companions.folds.count == 4


def started(encoder, out):
    return Fork(
        "openmofi",
        "label",
        "s3://data/pairs",
        "--kb",
        "s3://data/kb",
        "--encoder",
        encoder,
        "-o",
        out,
        "--json",
        "--engine",
        "local",
    )


def test_a_job_that_is_killed_amid_its_uploads_goes_on_to_the_same_bytes(store, small_encoder, tmp_path):
    """Three processes after each other are killed, each some writes further on, while the store takes its time."""
    assert started(small_encoder, tmp_path / "whole").finish().returncode == 0
    store.delay = 0.02
    for _ in range(3):
        before = sum(count for (method, _), count in store.requests.items() if method == "PUT")
        process = started(small_encoder, "s3://data/killed")
        while (
            process.poll() is None
            and sum(count for (method, _), count in store.requests.items() if method == "PUT") < before + 9
        ):
            time.sleep(0.01)
        process.kill()
        process.communicate()
    done = started(small_encoder, "s3://data/killed").finish()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows_in"] == json.loads(done.stdout)["rows_out"] == 320
    assert same(store, tmp_path / "whole", "killed")
    assert not [key for key in store.listed("killed") if "tmp" in key or ".parts" in key or "lock" in key]


def test_two_worker_processes(store, small_encoder, labelled, monkeypatch, forked_workers):
    """Their threads are others than this process's, and with these the last digits; see test_job.py."""
    monkeypatch.setattr("openmofi.engine.engines.ProcessEngine.few", 0)
    far = label("s3://data/processes", engine="processes:2", encoder=small_encoder)
    near = openmofi.Labels.open(labelled)
    columns = ["key", "status"]
    assert far.to_arrow(columns).equals(near.to_arrow(columns))
    np.testing.assert_allclose(
        *(
            pc.list_flatten(labels.to_arrow()["entities"]).combine_chunks().field("probability")
            for labels in (far, near)
        ),
        atol=2e-2,
    )


def test_no_permission_is_said_before_any_work(store):
    store.refuse = "AccessDenied"
    with pytest.raises(OpenMofiError, match=r"s3://data/refused.* cannot be written: Access Denied"):
        label("s3://data/refused")
    assert not store.listed("refused")


def test_a_store_that_is_full_in_mid_job(store, small_encoder, labelled):
    """What was stored stays; when there is room again the job goes on."""

    def fill():
        while not store.listed("full/links"):
            time.sleep(0.01)
        store.refuse = "QuotaExceeded"

    threading.Thread(target=fill, daemon=True).start()
    with pytest.raises(OpenMofiError, match="quota of the bucket is used up"):
        label("s3://data/full", encoder=small_encoder)
    store.refuse = ""
    label("s3://data/full", encoder=small_encoder)
    assert same(store, labelled, "full")

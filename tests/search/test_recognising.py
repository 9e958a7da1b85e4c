"""`openmofi recognise`: many images at once are what they are one by one; killed, it goes on; nothing is lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from search_world import COLOURS, ColourEncoder, colour_encoder, coloured
from served_world import labelled_index
from typer.testing import CliRunner

import openmofi
from openmofi.cli.main import app
from openmofi.encoders import as_encoder
from openmofi.errors import OpenMofiError
from openmofi.features.store import FeatureStore
from openmofi.pairs import Record, write_tar
from openmofi.schema import RECOGNISED, PairStatus, RecogniseStatus
from openmofi.search import Index, Verdict
from openmofi.search import recognising as module
from openmofi.search.rank.calibration import with_share
from openmofi.search.recognise_settings import UNNAMED
from openmofi.storage import read_manifest

NAMES = list(COLOURS)


@pytest.fixture(scope="module")
def colours(tmp_path_factory) -> Path:
    """A folder with an index of labelled colours; no probabilities, since its labels are few."""
    folder = tmp_path_factory.mktemp("colours")
    labelled_index(folder)
    return folder


@pytest.fixture
def index(colours) -> Index:
    return Index.open(colours / "index", colour_encoder())


def shard(path: Path, numbers: range) -> Path:
    write_tar(path, [Record(f"{number:03d}", coloured(NAMES[number % 6], 100 + number), "") for number in numbers])
    return path


@pytest.fixture
def shards(tmp_path) -> list[Path]:
    return [shard(tmp_path / f"pairs-{number}.tar", range(10 * number, 10 * number + 10)) for number in range(3)]


def tables(out: Path) -> dict[str, list[dict]]:
    return {path.stem: pq.read_table(path).to_pylist() for path in sorted((out / "recognised").glob("*.parquet"))}


def digests(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "recognised").glob("*.parquet"))}


def assert_the_same(row: dict, recognition, tolerance: float) -> None:
    """A row of the table, and what `Index.recognise` says of its image."""
    assert [each["entity"] for each in row["entities"]] == [each.entity.id for each in recognition.entities]
    for each, alone in zip(row["entities"], recognition.entities, strict=True):
        assert each["name"] == alone.entity.name
        assert each["similarity"] == pytest.approx(alone.similarity, abs=tolerance)
        assert (each["probability"] is None) == (alone.probability is None)
        if alone.probability is not None:
            assert each["probability"] == pytest.approx(alone.probability, abs=tolerance)
        assert [near["cosine"] for near in each["evidence"]] == pytest.approx(
            [cosine for _, cosine in alone.evidence], abs=tolerance
        )
        # Images that are equally near, but for the rounding of features, may change places: processors round otherwise.
        cosines = {image.id: cosine for image, cosine in alone.evidence}
        least = min(cosines.values(), default=0.0)
        for near in each["evidence"]:
            assert near["cosine"] == pytest.approx(cosines.get(near["image"], least), abs=tolerance)


def test_many_images_are_recognised_as_one_by_one(index, shards, tmp_path):
    counts = openmofi.recognise(shards, index=index, out=tmp_path / "out", limit=3)
    found = tables(tmp_path / "out")
    assert [row["key"] for rows in found.values() for row in rows] == [f"{number:03d}" for number in range(30)]
    assert counts["rows_in"] == counts["rows_out"] == 30
    assert counts["status"] == {"uncalibrated": 30}
    assert pq.read_schema(tmp_path / "out/recognised/pairs-0.parquet").remove_metadata() == RECOGNISED
    for rows in found.values():
        for row in rows:
            # Features are kept as float16.
            assert_the_same(
                row, index.recognise(coloured(NAMES[int(row["key"]) % 6], 100 + int(row["key"])), limit=3), 2e-3
            )
            assert row["entities"][0]["entity"] == f"c:{NAMES[int(row['key']) % 6]}"
            assert row["entities"][0]["evidence"]


@pytest.mark.slow  # the first that needs them makes the small world's labels
def test_with_probabilities_and_the_label_jobs_features(labelled, small_world, small_encoder, tmp_path, monkeypatch):
    index = openmofi.build_index(labelled, encoder=small_encoder, out=tmp_path / "index")
    store = FeatureStore.noted(labelled, index.encoder)
    # Nothing is decoded: the label job has kept the features of these shards.
    monkeypatch.setattr(FeatureStore, "prepare", lambda *_: pytest.fail("decoded again"))
    counts = openmofi.recognise(small_world.shards, index=index, out=tmp_path / "out", cache=store.cache)
    monkeypatch.undo()
    right, expected, otherwise = [], 0.0, 0.0
    for name, rows in tables(tmp_path / "out").items():
        for row in rows:
            assert row["status"] in {*RecogniseStatus, *PairStatus}
            assert bool(row["entities"]) == (row["status"] in {*RecogniseStatus})
            assert row["unnamed"] is None or row["entities"]
            if row["status"] == RecogniseStatus.RECOGNISED:
                best = row["entities"][0]
                assert best["probability"] == max(each["probability"] for each in row["entities"]) >= 0.5
                right.append(best["entity"] == small_world.truth[name, row["key"]])
                expected += best["probability"]
                # By Bayes' rule, from the tenth that is taken where nothing is said to the share of these images.
                even = with_share(np.array(row["unnamed"]), 1 - UNNAMED)
                other = float(with_share(even, counts["unnamed"]))
                otherwise += best["probability"] / (1 - row["unnamed"]) * (1 - other)
    assert counts["expected"] == pytest.approx(expected, abs=0.01)
    assert counts["expected_unnamed"] == pytest.approx(otherwise, abs=0.01 * len(right))
    assert len(right) > 100
    assert np.mean(right) == pytest.approx(expected / len(right), abs=0.1)
    assert set(counts["status"]) >= {"recognised", "image_broken"}


def test_features_that_it_makes_are_the_label_jobs(index, shards, tmp_path):
    from openmofi.engine import LocalEngine, Quiet
    from openmofi.knowledge import KnowledgeBase
    from openmofi.labeling import LabelSettings
    from openmofi.labeling.job import read_corpus
    from openmofi.storage import expand_shards

    twice = tmp_path / "twice.tar"
    write_tar(twice, [Record("a", coloured("red"), ""), Record("b", b"no image", "red"), Record("c", None, "red")])
    given = expand_shards([str(twice), str(shards[0])])
    openmofi.recognise([twice, shards[0]], index=index, out=tmp_path / "out", cache=tmp_path / "one")
    read_corpus(
        given,
        KnowledgeBase.open(index.path.parent / "kb"),
        index.encoder,
        LabelSettings(),
        tmp_path / "two",
        LocalEngine(),
        Quiet(),
    )
    one, two = (
        {path.relative_to(cache).as_posix(): path.read_bytes() for path in cache.glob("features/*/*.arrow")}
        for cache in (tmp_path / "one", tmp_path / "two")
    )
    assert len(one) == 2
    assert one == two


def test_rows_that_cannot_be_used_stay_with_a_status(index, tmp_path):
    path = tmp_path / "odd.tar"
    write_tar(
        path,
        [
            Record("broken", b"\x89PNG nothing", "red"),
            Record("missing", None, "red"),
            Record("vector", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "red"),
            Record("good", coloured("red"), "\x00"),
        ],
    )
    twice = tmp_path / "twice"
    twice.mkdir()
    for name in ("a", "b"):
        (twice / f"{name}.png").write_bytes(coloured("blue"))
    (twice / "metadata.csv").write_text("file_name,key,text\na.png,one,x\nb.png,one,x\n")
    empty = tmp_path / "empty.tar"
    write_tar(empty, [])
    counts = openmofi.recognise([path, twice, empty], index=index, out=tmp_path / "out", key_column="key")
    found = tables(tmp_path / "out")
    assert {row["key"]: row["status"] for row in found["odd"]} == {
        "broken": "image_broken",
        "missing": "image_missing",
        "vector": "image_unsupported_format",
        "good": "uncalibrated",
    }
    assert [row["status"] for row in found["twice"]] == ["uncalibrated", "duplicate_key"]
    assert found["empty"] == []
    assert all(bool(row["entities"]) == (row["status"] == "uncalibrated") for rows in found.values() for row in rows)
    assert counts["rows_in"] == counts["rows_out"] == 6


def test_a_shard_that_fails_is_set_aside_and_tried_again(index, shards, tmp_path):
    whole, job = shards[1].read_bytes(), {"index": index, "out": tmp_path / "out"}
    shards[1].write_bytes(whole[:3000])
    with pytest.raises(OpenMofiError, match=r"1 of 3 shards could not be recognised \(pairs-1: ") as error:
        openmofi.recognise(shards, **job)
    assert "Start the same command again" in str(error.value.hint)
    assert list(tables(tmp_path / "out")) == ["pairs-0", "pairs-2"]
    assert list(read_manifest(tmp_path / "out", "recognised").counts["failed"]) == ["pairs-1"]
    before = digests(tmp_path / "out")
    with pytest.raises(OpenMofiError, match="1 of 3 shards"):
        openmofi.recognise(shards, **job)
    assert digests(tmp_path / "out") == before
    shutil.rmtree(tmp_path / "out")
    for path in shards:
        path.write_bytes(whole[:3000])
    with pytest.raises(OpenMofiError, match="pairs-0"):
        openmofi.recognise(shards, **job)


def test_it_goes_on_where_it_stopped(index, shards, tmp_path, monkeypatch):
    job = {"index": index, "cache": tmp_path / "cache"}
    openmofi.recognise(shards, out=tmp_path / "whole", **job)
    openmofi.recognise(shards, out=tmp_path / "out", **job)
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")
    (tmp_path / "out/recognised/pairs-1.parquet").unlink()
    torn = tmp_path / "out/recognised/pairs-2.parquet"
    torn.write_bytes(torn.read_bytes()[:-7])
    done, really = [], module._recognise_shard
    monkeypatch.setattr(module, "_recognise_shard", lambda *given: done.append(given[-1].name) or really(*given))
    openmofi.recognise(shards, out=tmp_path / "out", **job)
    assert done == ["pairs-1", "pairs-2"]
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")
    openmofi.recognise(shards, out=tmp_path / "out", **job)
    assert len(done) == 2
    openmofi.recognise(shards, out=tmp_path / "out", limit=2, restart=True, **job)
    assert len(done) == 5


def test_another_state_of_the_index_is_another_job(colours, shards, tmp_path):
    shutil.copytree(colours / "index", tmp_path / "index")
    index = Index.open(tmp_path / "index", colour_encoder())
    openmofi.recognise(shards, index=index, out=tmp_path / "out")
    index.add_verdict(Verdict("images", "red-0", "c:red", "y"))
    index.make_map()
    openmofi.recognise(shards, index=index, out=tmp_path / "out")
    index.remove([str(colours / "images/red-0.png")])
    with pytest.raises(OpenMofiError, match="made with other settings"):
        openmofi.recognise(shards, index=index, out=tmp_path / "out")
    assert "c:red" in {
        each["entity"] for rows in tables(tmp_path / "out").values() for row in rows for each in row["entities"]
    }
    openmofi.recognise(shards, index=index, out=tmp_path / "out", restart=True)


def test_an_index_that_changes_meanwhile_is_noticed(index, shards, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_checked", lambda *_: "before")
    with pytest.raises(OpenMofiError, match="has changed since the job began"):
        openmofi.recognise(shards, index=index, out=tmp_path / "out")


class OtherEncoder(ColourEncoder):
    fingerprint = "colours-2"


def test_what_cannot_be_used_is_refused(index, colours, shards, tmp_path):
    with pytest.raises(OpenMofiError, match="was built with the encoder"):
        openmofi.recognise(shards, index=colours / "index", encoder=as_encoder(OtherEncoder()), out=tmp_path / "out")
    with pytest.raises(OpenMofiError, match="is not an index"):
        openmofi.recognise(shards, index=tmp_path, encoder=colour_encoder(), out=tmp_path / "out")
    with pytest.raises(OpenMofiError, match="limit"):
        openmofi.recognise(shards, index=index, out=tmp_path / "out", limit=0)
    assert not (tmp_path / "out").exists()
    bare = openmofi.build_index(colours / "images", encoder=colour_encoder(), out=tmp_path / "bare")
    with pytest.raises(OpenMofiError, match="knows no entities"):
        openmofi.recognise(shards, index=bare, out=tmp_path / "out")


def test_the_command(colours, index, shards, tmp_path, monkeypatch):
    monkeypatch.setattr("openmofi.api.indexes.encoder_of", lambda *_: index.encoder)
    given = ["recognise", *map(str, shards), "--index", str(colours / "index"), "-o", str(tmp_path / "out")]
    said = CliRunner().invoke(app, [*given, "--json"], catch_exceptions=False)
    assert json.loads(said.stdout)["status"] == {"uncalibrated": 30}
    said = CliRunner().invoke(app, given, catch_exceptions=False)
    assert "30 images in" in said.stdout
    assert (said.exit_code, said.stdout.splitlines()[-2].split()) == (0, ["uncalibrated", "30"])
    assert f"openmofi index info {colours / 'index'} says what to do" in said.stdout.splitlines()[-1]


_SCRIPT = """
import sys, time
sys.path[:0] = {paths!r}
from search_world import colour_encoder
from openmofi.search import recognising
import openmofi
really = recognising._recognise_shard
def slowly(*given):
    done = really(*given)
    print("done", flush=True)
    time.sleep(0.3)
    return done
recognising._recognise_shard = slowly
openmofi.recognise({shards!r}, index={index!r}, encoder=colour_encoder(), out={out!r}, engine="local")
"""


@pytest.mark.slow
def test_killed_it_ends_in_the_same_bytes(colours, index, shards, tmp_path):
    openmofi.recognise(shards, index=index, out=tmp_path / "whole")
    script = _SCRIPT.format(
        paths=[str(Path(__file__).parent), *sys.path],
        shards=list(map(str, shards)),
        index=str(colours / "index"),
        out=str(tmp_path / "out"),
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=os.environ)
    assert child.stdout is not None
    assert child.stdout.readline() == b"done\n"
    time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert list(tables(tmp_path / "out")) == ["pairs-0"]
    openmofi.recognise(shards, index=index, out=tmp_path / "out")
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")
    assert not [path for path in (tmp_path / "out").rglob(".*") if "openmofi" in path.name and path.suffix != ".json"]

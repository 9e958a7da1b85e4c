import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import openmofi
from openmofi.errors import OpenMofiError
from openmofi.labeling.judge.calibration import Calibration
from openmofi.schema import LABELS, LabelStatus, PairStatus
from openmofi.storage import read_manifest

pytestmark = pytest.mark.slow


def tables(out: Path) -> dict[str, list[dict]]:
    return {path.stem: pq.read_table(path).to_pylist() for path in sorted((out / "labels").glob("*.parquet"))}


def digests(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted((out / "labels").glob("*.parquet"))}


def test_every_row_comes_out_once_in_order_with_a_status(small_world, labelled):
    found = tables(labelled)
    assert [(shard, row["key"]) for shard, rows in found.items() for row in rows] == list(small_world.truth)
    allowed = {*LabelStatus, *PairStatus}
    assert {row["status"] for rows in found.values() for row in rows} <= allowed
    counts = read_manifest(labelled, "labels").counts
    assert counts["rows_in"] == counts["rows_out"] == len(small_world.truth)
    assert counts["status"] == dict(Counter(row["status"] for rows in found.values() for row in rows))


def test_tables_have_the_schema(labelled):
    for path in (labelled / "labels").glob("*.parquet"):
        assert pq.read_schema(path).remove_metadata() == LABELS


def test_labels_are_right_and_the_image_settles_the_ambiguous_name(small_world, labelled):
    right = wrong = ambiguous = 0
    for shard, rows in tables(labelled).items():
        for row in rows:
            for entity in row["entities"]:
                if entity["accepted"]:
                    good = entity["entity"] == small_world.truth[shard, row["key"]]
                    right, wrong = right + good, wrong + (not good)
                    ambiguous += good and "orange" in entity["entity"]
    assert right > 120
    assert right / (right + wrong) >= 0.9
    assert ambiguous > 10


def test_reasons_agree_with_acceptance_and_statuses(labelled):
    for rows in tables(labelled).values():
        for row in rows:
            accepted = [e for e in row["entities"] if e["accepted"]]
            assert all((e["reason"] == "accepted") == e["accepted"] for e in row["entities"])
            assert (row["status"] == LabelStatus.LABELLED) == bool(accepted)
            if row["status"] in (LabelStatus.NO_MENTION, PairStatus.IMAGE_BROKEN):
                assert not row["entities"]


def test_at_most_one_candidate_of_a_mention_is_accepted_with_a_threshold_of_half(labelled):
    for rows in tables(labelled).values():
        for row in rows:
            mentions = [e["mention"] for e in row["entities"] if e["accepted"]]
            assert len(mentions) == len(set(mentions))


def test_a_second_run_with_another_threshold_reads_nothing_again(small_world, small_encoder, labelled, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in labelled.glob("features/*/*.arrow")}
    strict = openmofi.label(small_world.shards, kb=small_world.kb, encoder=small_encoder, out=tmp_path / "out",
                            threshold=0.99, cache=labelled)
    assert before
    assert strict.summary["accepted"] < read_manifest(labelled, "labels").counts["accepted"]
    assert {path: path.stat().st_mtime_ns for path in labelled.glob("features/*/*.arrow")} == before
    assert not list((tmp_path / "out").glob("features/*"))


def test_other_settings_in_the_same_folder_are_refused(small_world, small_encoder, labelled):
    with pytest.raises(OpenMofiError, match="made with other settings"):
        openmofi.label(small_world.shards, kb=small_world.kb, encoder=small_encoder, out=labelled, threshold=0.9)


def test_target_precision_chooses_the_threshold(small_world, small_encoder, labelled, tmp_path):
    labels = openmofi.label(small_world.shards, kb=small_world.kb, encoder=small_encoder, out=tmp_path / "out",
                            target_precision=0.97, cache=labelled)
    assert labels.summary["expected_precision"] >= 0.97 - 1e-6


def test_top_k_keeps_the_most_probable(small_world, small_encoder, labelled, tmp_path):
    openmofi.label(small_world.shards, kb=small_world.kb, encoder=small_encoder, out=tmp_path / "out", threshold=0.01,
                   top_k=1, cache=labelled)
    for rows in tables(tmp_path / "out").values():
        for row in rows:
            accepted = [e for e in row["entities"] if e["accepted"]]
            assert len({e["entity"] for e in accepted}) <= 1
            beyond = [e["probability"] for e in row["entities"] if e["reason"] == "beyond_top_k"]
            assert not beyond or max(beyond) <= max(e["probability"] for e in accepted)


def test_an_adapter_is_fitted_stored_and_used(small_world, small_encoder, labelled, tmp_path):
    first, again = (openmofi.label(small_world.shards, kb=small_world.kb, encoder=small_encoder, out=tmp_path / name,
                                   adapt=True, cache=labelled).summary for name in ("out", "other"))
    assert (tmp_path / "out/adapter/heads.safetensors").exists()
    assert first == again
    assert set(first["adapter_gain"]) == {"without", "with"}
    assert all(side["labels"] >= side["expected_right"] > 0 for side in first["adapter_gain"].values())
    assert digests(tmp_path / "out") == digests(tmp_path / "other")
    assert digests(tmp_path / "out") != digests(labelled)


def test_processes_give_the_same_labels(small_world, small_encoder, labelled, tmp_path):
    openmofi.label(small_world.shards, kb=small_world.kb, encoder=small_encoder, out=tmp_path / "out",
                   engine="processes:2")
    first, second = tables(labelled), tables(tmp_path / "out")
    for shard in first:
        for a, b in zip(first[shard], second[shard], strict=True):
            assert (a["key"], a["status"]) == (b["key"], b["status"])
            np.testing.assert_allclose([e["probability"] for e in a["entities"]],
                                       [e["probability"] for e in b["entities"]], atol=2e-2)


def test_killed_three_times_the_labels_are_the_same_bytes(small_world, small_encoder, labelled, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "openmofi", "label", str(small_world.shards), "--kb", str(small_world.kb),
               "--encoder", small_encoder, "-o", str(out)]
    chance, killed = random.Random(11), 0
    started = time.monotonic()
    subprocess.run([*command[:-1], str(tmp_path / "warm")], check=True, capture_output=True)
    whole = time.monotonic() - started
    while killed < 3:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.3, 0.9) * whole)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        killed += 1
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert digests(out) == digests(labelled)
    assert not list(out.rglob(".openmofi-tmp-*"))


def test_too_few_pairs_for_a_calibration_say_so(small_world, small_encoder, tmp_path):
    from openmofi.encoders import Head, open_encoder, save_heads

    base = open_encoder("backbone:efficientnet-lite0+minilm")
    save_heads(tmp_path / "bare", base=base, image_head=Head.initial(base.feature_dim, 16, seed=0),
               text_head=Head.initial(base.text_feature_dim, 16, seed=1), logit_scale=10.0, settings={})
    with pytest.raises(OpenMofiError, match="too few to calibrate"):
        openmofi.label(small_world.shards / "00000.tar", kb=small_world.kb, encoder=f"run:{tmp_path / 'bare'}",
                       out=tmp_path / "out")


def test_the_encoders_calibration_is_used_and_copied(small_encoder, labelled):
    beside = Calibration.load(Path(small_encoder.removeprefix("run:")) / "calibration.json")
    assert Calibration.load(labelled / "calibration.json") == beside


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_an_export_labels_as_its_original(engine, small_world, small_encoder, labelled, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine))
    from openmofi.encoders import open_encoder
    from openmofi.encoders.export.agreement import samples_of
    from openmofi.encoders.export.export_settings import ExportSettings
    from openmofi.encoders.export.job import export_encoder

    spec, shards = f"{engine}:{tmp_path / 'export'}", [str(small_world.shards)]
    export_encoder(open_encoder(small_encoder), tmp_path / "export", ExportSettings(engine), samples_of(shards, 128))
    counts = openmofi.label(shards, kb=small_world.kb, encoder=spec, out=tmp_path / "out").summary
    assert counts == read_manifest(labelled, "labels").counts | {
        "expected_precision": pytest.approx(counts["expected_precision"], abs=1e-4)}
    assert Calibration.load(tmp_path / "out/calibration.json") == Calibration.load(labelled / "calibration.json")
    first, second = tables(labelled), tables(tmp_path / "out")
    assert list(first) == list(second)
    for a, b in ((a, b) for shard in first for a, b in zip(first[shard], second[shard], strict=True)):
        assert {**a, "entities": None} == {**b, "entities": None}
        for name in ("entity", "mention", "accepted", "reason"):
            assert [e[name] for e in a["entities"]] == [e[name] for e in b["entities"]]
        for name in ("probability", "image_score"):
            np.testing.assert_allclose([e[name] for e in b["entities"]], [e[name] for e in a["entities"]],
                                       atol=1e-4 if name == "probability" else 1e-2)
    inputs = [read_manifest(folder, "labels").inputs["/encoder"] for folder in (labelled, tmp_path / "out")]
    assert inputs == [open_encoder(small_encoder).fingerprint, open_encoder(spec).fingerprint]

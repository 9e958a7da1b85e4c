from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem
from mounts import read_only

from openmofi.errors import OpenMofiError
from openmofi.schema import KIND_VERSIONS
from openmofi.storage import (
    Manifest,
    atomic,
    claim_folder,
    finish_manifest,
    read_manifest,
    require_claimable,
    write_json,
)
from openmofi.storage.manifest import MADE_BY, MANIFEST, output_stamp
from terminal import in_process


def test_a_new_folder_is_claimed_finished_and_found_again(tmp_path):
    out = tmp_path / "out"
    first = claim_folder(out, "labels", {"pairs": ("a", "b"), "where": Path("x")}, {"kb": "abc"})
    assert not first.finished
    assert first.settings == {"pairs": ["a", "b"], "where": "x"}
    assert first.versions["openmofi"]
    assert claim_folder(out, "labels", {"pairs": ("a", "b"), "where": Path("x")}, {"kb": "abc"}) == first
    done = finish_manifest(out, first, {"rows": 3})
    again = claim_folder(out, "labels", {"pairs": ["a", "b"], "where": "x"}, {"kb": "abc"})
    assert again == done == read_manifest(out, "labels")
    assert again.finished
    assert again.counts == {"rows": 3}
    assert again.fingerprint == first.fingerprint


def test_object_stores():
    first = claim_folder("memory://manifests/out", "labels", {"a": 1})
    assert read_manifest("memory://manifests/out", "labels") == first
    with pytest.raises(OpenMofiError, match="a: 1 → 2"):
        claim_folder("memory://manifests/out", "labels", {"a": 2})


@pytest.mark.parametrize(
    ("settings", "inputs", "said"),
    [
        ({"a": 2, "b": 1}, {"kb": "x"}, "a: 1 → 2"),
        ({"a": 1}, {"kb": "x"}, "b: 1 → None"),
        ({"a": 1, "b": 1}, {"kb": "y"}, "kb: 'x' → 'y'"),
    ],
)
def test_other_settings_or_inputs_stop_and_say_which(tmp_path, settings, inputs, said):
    claim_folder(tmp_path / "out", "labels", {"a": 1, "b": 1}, {"kb": "x"})
    with pytest.raises(OpenMofiError, match="was made with other settings") as caught:
        claim_folder(tmp_path / "out", "labels", settings, inputs)
    assert said in caught.value.message
    assert "-o" in caught.value.hint


def test_a_long_setting_does_not_fill_the_screen(tmp_path):
    claim_folder(tmp_path / "out", "labels", {"shards": ["x" * 50] * 1000})
    with pytest.raises(OpenMofiError) as caught:
        claim_folder(tmp_path / "out", "labels", {"shards": ["y" * 50] * 1000})
    assert len(caught.value.message) < 500


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/holiday.jpg").write_bytes(b"x")
    with pytest.raises(OpenMofiError, match=r"not empty and has no manifest\.json"):
        claim_folder(tmp_path / "photos", "labels", {})
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["holiday.jpg"]


def test_a_folder_that_another_process_claims_meanwhile_is_ours(tmp_path, monkeypatch):
    """The listing may show what the other wrote and not yet its manifest: as ranks that start together do."""
    claimed = claim_folder(tmp_path / "out", "labels", {"size": 1})
    with monkeypatch.context() as patched:
        patched.setattr(LocalFileSystem, "ls", lambda _self, path, **_named: [f"{path}/log.jsonl"])
        assert require_claimable(tmp_path / "out", "labels") == claimed
        with pytest.raises(OpenMofiError, match="'labels', not 'dataset'"):
            require_claimable(tmp_path / "out", "dataset")


def test_an_empty_folder_or_one_with_hidden_files_can_be_claimed(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.gitkeep").write_text("")
    assert claim_folder(tmp_path / "out", "labels", {}).kind == "labels"


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OpenMofiError, match="a file exists where a folder is needed"):
        claim_folder(tmp_path / "out", "labels", {})
    with pytest.raises(OpenMofiError, match="is not a labels"):
        read_manifest(tmp_path / "out", "labels")


def test_another_kind(tmp_path):
    claim_folder(tmp_path / "kb", "knowledge_base", {})
    with pytest.raises(OpenMofiError, match="holds 'knowledge_base', not 'labels'"):
        claim_folder(tmp_path / "kb", "labels", {})


def test_another_schema_version_is_told_as_such_even_with_unknown_fields(tmp_path):
    now = Manifest("knowledge_base", {})
    write_json(tmp_path / MANIFEST, {**asdict(now), "schema_version": now.schema_version + 1, "signature": "new"})
    with pytest.raises(OpenMofiError, match=f"has schema version {now.schema_version + 1}") as caught:
        read_manifest(tmp_path, "knowledge_base")
    assert "Build it again" in caught.value.hint


def test_labels_of_an_earlier_version_are_told_to_be_made_again(tmp_path):
    assert Manifest("labels", {}).schema_version == KIND_VERSIONS["labels"] != Manifest("dataset", {}).schema_version
    write_json(tmp_path / MANIFEST, {**asdict(Manifest("labels", {})), "schema_version": KIND_VERSIONS["labels"] - 1})
    with pytest.raises(OpenMofiError, match=f"reads version {KIND_VERSIONS['labels']}") as caught:
        read_manifest(tmp_path, "labels")
    assert "again" in caught.value.hint


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"kind": "labels"}',
        json.dumps({"kind": "labels", "schema_version": KIND_VERSIONS["labels"]}).encode(),
        json.dumps(
            {"kind": "labels", "schema_version": KIND_VERSIONS["labels"], "settings": [], "inputs": {}}
        ).encode(),
        json.dumps(
            {"kind": "labels", "schema_version": KIND_VERSIONS["labels"], "settings": {}, "unknown": 1}
        ).encode(),
    ],
)
def test_a_damaged_manifest_is_one_sentence(tmp_path, content):
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(OpenMofiError) as caught:
        read_manifest(tmp_path, "labels")
    assert str(tmp_path) in caught.value.message
    assert caught.value.hint


def test_none_at_all(tmp_path):
    with pytest.raises(OpenMofiError, match="is not a knowledge base: it has no manifest") as caught:
        read_manifest(tmp_path, "knowledge_base")
    assert caught.value.hint == "Check the path; `openmofi kb build` makes one."


def test_each_maker_is_a_command():
    for maker in MADE_BY.values():
        assert in_process(*maker.split()[1:], "--help").returncode == 0


def test_a_read_only_folder_can_be_read_and_not_claimed(tmp_path):
    claim_folder(tmp_path / "done", "labels", {"a": 1})
    (tmp_path / "new").mkdir()
    with read_only(tmp_path / "done") as folder:
        assert claim_folder(folder, "labels", {"a": 1}).settings == {"a": 1}
    with read_only(tmp_path / "new") as folder, pytest.raises(OpenMofiError, match="cannot be written: Read-only"):
        claim_folder(folder, "labels", {"a": 1})


def test_a_claim_removes_what_a_try_left_that_was_killed_before_it_claimed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    leftover = tmp_path / "run/.cache" / f"{atomic._TEMPORARY}{atomic._HOST}-{process.pid}-00000000.arrow"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    claim_folder(tmp_path / "run", "run", {})
    assert not leftover.exists()


def test_a_stamp_says_names_and_sizes_alike_of_local_and_stored_folders(tmp_path):
    from fsspec.implementations.memory import MemoryFileSystem

    names = {"a.json": 3, "manifest.json": 9, ".hidden": 2, "labels/x.parquet": 5, "labels/deep/y": 1, "other/z": 4}
    for name, size in names.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
        MemoryFileSystem().pipe_file(f"/stamped/{name}", bytes(size))
    stamp = output_stamp(tmp_path, "labels", "absent")
    assert stamp == output_stamp("memory://stamped", "labels", "absent")
    (tmp_path / "other/z").unlink()
    (tmp_path / "manifest.json").write_bytes(b"")
    assert output_stamp(tmp_path, "labels", "absent") == stamp
    (tmp_path / "labels/x.parquet").write_bytes(bytes(6))
    assert output_stamp(tmp_path, "labels", "absent") != stamp
    assert output_stamp(tmp_path / "none") == output_stamp(tmp_path / "nowhere", "labels")

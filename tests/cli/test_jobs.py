import json
import shutil

import pytest

from openmofi.engine import Quiet
from openmofi.engine.status import COMMAND_FILE, STATUS_FILE, recorded
from openmofi.storage import Outputs, claimed, read_manifest, write_json
from terminal import in_process, openmofi

OUTPUTS = Outputs(("x",))


def test_a_job_that_runs(tmp_path):
    with claimed(tmp_path / "out", "labels", {}, outputs=OUTPUTS), recorded(Quiet(), tmp_path / "out") as progress:
        progress.begin("read", 3)
        progress.starts("process 7", "b.tar")
        progress.fails("c.tar", "it is damaged")
        progress.say("a: trying again")
        printed = in_process("jobs", "status", tmp_path / "out").stdout
        assert "labels, running, by process" in printed
        assert "read: 0/3" in printed
        assert "a: trying again" in printed
        assert "process 7: b.tar, for " in printed
        assert "failed: c.tar: it is damaged" in printed
        found = json.loads(in_process("jobs", "status", tmp_path / "out", "--json").stdout)
        assert (found["state"], found["live"]["total"], found["live"]["seconds_left"]) == ("running", 3, None)
        assert (found["live"]["workers"]["process 7"][0], found["failed"]) == ("b.tar", {"c.tar": "it is damaged"})
        refused = in_process("jobs", "retry", tmp_path / "out")
        assert refused.returncode == 1
        assert "is being written by process" in refused.stderr


def test_a_job_that_was_killed(tmp_path):
    with claimed(tmp_path / "out", "labels", {}, outputs=OUTPUTS):
        pass
    write_json(tmp_path / "out" / STATUS_FILE, {"stage": "read", "done": 1, "total": 2, "began": 1.0, "at": 3.0})
    printed = in_process("jobs", "status", tmp_path / "out").stdout
    assert "labels, incomplete" in printed
    assert "read: 1/2" in printed
    assert "openmofi jobs retry " in printed
    refused = in_process("jobs", "retry", tmp_path / "out")
    assert refused.returncode == 1
    assert "not recorded which command" in refused.stderr


@pytest.mark.slow
def test_a_finished_job_and_one_that_lacks_shards(labelled, tmp_path):
    assert "labels, finished" in in_process("jobs", "status", labelled).stdout
    shutil.copytree(labelled, tmp_path / "out")
    path = tmp_path / "out/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["counts"]["failed"] = {"00002": "it is damaged"}
    path.write_text(json.dumps(manifest))
    assert read_manifest(tmp_path / "out").finished
    printed = in_process("jobs", "status", tmp_path / "out").stdout
    assert "labels, incomplete" in printed
    assert "failed: 00002: it is damaged" in printed


def noted(out, monkeypatch, folder, *arguments):
    """Leave what a command of this user leaves that was killed."""
    with monkeypatch.context() as patch:
        patch.setattr("sys.argv", ["/bin/openmofi", *arguments])
        patch.chdir(folder)
        with claimed(out, "labels", {}, outputs=OUTPUTS), recorded(Quiet(), out) as progress:
            progress.begin("read", 1)


def test_retry_starts_the_command_again_where_it_was_started(tmp_path, monkeypatch):
    noted(tmp_path / "out", monkeypatch, tmp_path, "kb", "info", "a b; $(c)")
    (tmp_path / "openmofi.py").write_text("raise SystemExit('what lies in the folder was imported')")
    done = openmofi("jobs", "retry", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith(f"openmofi kb info 'a b; $(c)'\nerror: {tmp_path}/a b; $(c) ")
    (tmp_path / "gone").mkdir()
    noted(tmp_path / "out", monkeypatch, tmp_path / "gone", "kb", "info")
    (tmp_path / "gone").rmdir()
    refused = openmofi("jobs", "retry", tmp_path / "out")
    assert (refused.returncode, "is not there" in refused.stderr) == (1, True)


@pytest.mark.parametrize("change", [{"arguments": ["kb", "info", "b"]}, {"folder": "/"}, {"signature": ""}])
def test_retry_runs_no_command_of_others(tmp_path, monkeypatch, change):
    noted(tmp_path / "out", monkeypatch, tmp_path, "kb", "info", "a")
    file = tmp_path / "out" / COMMAND_FILE
    write_json(file, {**json.loads(file.read_text()), **change})
    refused = in_process("jobs", "retry", tmp_path / "out")
    assert refused.returncode == 1
    assert "was not made by a command of yours" in refused.stderr
    assert f"openmofi kb info {'b' if 'arguments' in change else 'a'}" in refused.stderr


@pytest.mark.slow
def test_retry_does_what_failed(small_world, small_encoder, tmp_path):
    pairs = shutil.copytree(small_world.shards, tmp_path / "pairs")
    cut = min(pairs.iterdir())
    whole = cut.read_bytes()
    given = ("--kb", small_world.kb, "--encoder", small_encoder, "-o", tmp_path / "out")
    cut.write_bytes(whole[:5000])
    first = in_process("label", pairs, *given, "--restart")
    assert first.returncode == 1
    assert "1 of 4 shards" in first.stderr
    again = openmofi("jobs", "retry", tmp_path / "out")
    assert again.returncode == 1
    assert again.stderr.startswith("openmofi label ")
    assert "1 of 4 shards" in again.stderr
    assert "incomplete" in in_process("jobs", "status", tmp_path / "out").stdout


@pytest.mark.slow
def test_of_a_finished_job_nothing_is_done_again(labelled):
    done = in_process("jobs", "retry", labelled)
    assert (done.returncode, "nothing failed" in done.stdout) == (0, True)


def test_no_job_is_one_sentence(tmp_path):
    done = in_process("jobs", "status", tmp_path)
    assert done.returncode == 1
    assert "is not an OpenMOFI folder" in done.stderr

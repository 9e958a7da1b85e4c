import json
import shutil

import pytest

from openmofi.engine import Quiet
from openmofi.engine.status import STATUS_FILE, recorded
from openmofi.storage import Outputs, claimed, read_manifest, write_json
from terminal import openmofi

OUTPUTS = Outputs(("x",))


def test_a_job_that_runs(tmp_path):
    with claimed(tmp_path / "out", "labels", {}, outputs=OUTPUTS), recorded(Quiet(), tmp_path / "out") as progress:
        progress.begin("read", 3)
        progress.say("a: trying again")
        printed = openmofi("jobs", "status", tmp_path / "out").stdout
        assert "labels, running, by process" in printed
        assert "read: 0/3" in printed
        assert "a: trying again" in printed
        found = json.loads(openmofi("jobs", "status", tmp_path / "out", "--json").stdout)
        assert (found["state"], found["live"]["total"], found["live"]["seconds_left"]) == ("running", 3, None)


def test_a_job_that_was_killed(tmp_path):
    with claimed(tmp_path / "out", "labels", {}, outputs=OUTPUTS):
        pass
    write_json(tmp_path / "out" / STATUS_FILE, {"stage": "read", "done": 1, "total": 2, "began": 1.0, "at": 3.0})
    printed = openmofi("jobs", "status", tmp_path / "out").stdout
    assert "labels, incomplete" in printed
    assert "read: 1/2" in printed
    assert "Start the command that made it again" in printed


@pytest.mark.slow
def test_a_finished_job_and_one_that_lacks_shards(labelled, tmp_path):
    assert "labels, finished" in openmofi("jobs", "status", labelled).stdout
    shutil.copytree(labelled, tmp_path / "out")
    path = tmp_path / "out/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["counts"]["failed"] = {"00002": "it is damaged"}
    path.write_text(json.dumps(manifest))
    assert read_manifest(tmp_path / "out").finished
    printed = openmofi("jobs", "status", tmp_path / "out").stdout
    assert "labels, incomplete" in printed
    assert "failed: 00002: it is damaged" in printed


def test_no_job_is_one_sentence(tmp_path):
    done = openmofi("jobs", "status", tmp_path)
    assert done.returncode == 1
    assert "is not an OpenMOFI folder" in done.stderr

"""What `--restart` removes is what a stage writes: every file but the manifest, and none beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

import openmofi
from openmofi.dataset.build import OUTPUTS as DATASET
from openmofi.errors import OpenMofiError
from openmofi.knowledge.layout import OUTPUTS as BASE
from openmofi.labeling.job import OUTPUTS as LABELS
from openmofi.plugins.reinforcement.job import OUTPUTS as STORE
from studies.world.encoder import OUTPUTS as ENCODER
from studies.world.world import OUTPUTS as WORLD

pytestmark = pytest.mark.slow


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def not_removed(folder, outputs):
    return files(folder) - {path.relative_to(folder).as_posix() for path in outputs.files(folder)}


def test_of_labels_stores_and_knowledge_bases(small_world, small_encoder, labelled, store):
    assert not_removed(labelled, LABELS) == {"manifest.json"}
    assert not_removed(store, STORE) == {"manifest.json"}
    assert not_removed(small_world.kb, BASE) == {"manifest.json"}
    assert not_removed(Path(small_encoder.removeprefix("run:")), ENCODER) == {"manifest.json"}


@pytest.mark.xdist_group("demo")
def test_of_worlds(small_demo):
    assert not_removed(small_demo / "world", WORLD) == {"manifest.json"}


def test_labels_and_a_dataset_begin_anew(small_world, small_encoder, labelled, tmp_path):
    job = {"kb": small_world.kb, "encoder": small_encoder, "out": tmp_path / "labels", "cache": labelled}
    shards = small_world.shards
    openmofi.label(shards, adapt=True, **job)
    assert not_removed(tmp_path / "labels", LABELS) == {"manifest.json"}
    (tmp_path / "labels/mine.txt").write_text("mine")
    with pytest.raises(OpenMofiError, match=r"other settings \(adapt: True → False; selection\.top_k: 5 → 1\)"):
        openmofi.label(shards, top_k=1, **job)
    anew = openmofi.label(shards, top_k=1, restart=True, **job)
    whole = openmofi.label(shards, top_k=1, **{**job, "out": tmp_path / "whole"})
    assert files(tmp_path / "labels") == files(tmp_path / "whole") | {"mine.txt"}
    assert anew.summary == whole.summary
    first = openmofi.build_dataset(whole, out=tmp_path / "data", min_images=1)
    assert not_removed(tmp_path / "data", DATASET) == {"manifest.json"}
    second = openmofi.build_dataset(
        whole, out=tmp_path / "data", min_images=1, max_images=2, restart=True, report=False
    )
    assert second.summary["labels"] < first.summary["labels"]
    assert "report.html" not in files(tmp_path / "data")


def test_a_job_that_fails_early_does_not_bind_its_folder(small_world, small_encoder, labelled, tmp_path):
    job = {"kb": small_world.kb, "encoder": small_encoder, "out": tmp_path / "out"}
    with pytest.raises(OpenMofiError):
        openmofi.label(small_world.shards, calibration=small_world.kb / "manifest.json", **job)
    openmofi.label(small_world.shards, cache=labelled, **job)

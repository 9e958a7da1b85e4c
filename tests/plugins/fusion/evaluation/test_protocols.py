"""The protocols that judge linkers, with each of them, on tiny tables and a tiny knowledge base."""

from dataclasses import replace

import pytest
from colours import Eye
from fusion_world import make_examples, tiny
from kb_tables import write_source

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.result import write_result
from openmofi.evaluation.run import evaluate
from openmofi.knowledge import build_table
from openmofi.linking import linker_fingerprint
from openmofi.plugins.benchmarks.compare import compare_results
from openmofi.plugins.fusion.examples import NIL, LinkCandidate, LinkExample, read_examples, write_examples
from openmofi.plugins.fusion.linker import answers_of
from openmofi.plugins.fusion.store import build_fusion, open_fusion, save_fusion
from studies.fusion import disambiguation_scores

IDS = ["crane-bird", "crane-machine", "stork", "steel"]
NAMES = [
    ("crane", "crane-bird", 3.0),
    ("crane", "crane-machine", 2.0),
    ("stork", "stork", 1.0),
    ("steel", "steel", 1.0),
]
RELATIONS = [("crane-bird", "hypernym", "stork"), ("crane-machine", "part", "steel")]
CRANE = (LinkCandidate("crane-bird", "crane", prior=0.6), LinkCandidate("crane-machine", "crane", prior=0.4))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A fusion decoder, a knowledge base, a table of examples."""
    folder = tmp_path_factory.mktemp("judged")
    fusion = build_fusion(tiny(folder / "tokenizer"), seed=1)
    save_fusion(folder / "fusion", replace(fusion, nil=True))
    build_table(write_source(folder / "source", ids=IDS, names=NAMES, relations=RELATIONS), folder / "kb")
    write_examples(
        folder / "examples.parquet",
        make_examples(30, 1, nil=0.3, split="test_a") + make_examples(20, 2, split="test_b") + make_examples(5, 3),
    )
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Texts that are annotated in full, but for one that nobody annotated."""
    table = tmp_path_factory.mktemp("texts") / "e.parquet"
    rows = [
        ("a crane of steel", 2, 7, "crane-machine"),
        ("a crane of steel", 11, 16, "steel"),
        ("the stork and the crane", 18, 23, "crane-bird"),
        ("the stork and the crane", 4, 9, "stork"),
        ("a crane", 2, 7, "crane-machine"),
        ("the stork", 4, 9, "heron"),
        ("steel", 0, 5, NIL),
    ]
    listed = {
        "": (),
        **{gold: (LinkCandidate(gold, gold),) for *_, gold in rows if gold},
        "crane-bird": CRANE,
        "crane-machine": CRANE,
    }
    write_examples(
        table, [LinkExample(text, start, end, listed[gold], gold, "test") for text, start, end, gold in rows]
    )
    return table


def run(protocol, data, linker, **options):
    return evaluate(protocol, None, data, "unused", Quiet(), linker=linker, **options)


def test_the_figures_are_those_of_the_scoring_function(place):
    table = place / "examples.parquet"
    found = run("disambiguation", table, f"fusion:{place / 'fusion'}", failures=3)
    examples = read_examples(table, ["test_a", "test_b"])
    expected = disambiguation_scores(examples, answers_of(open_fusion(place / "fusion"), examples))
    metrics, result = found.result.metrics, found.result
    assert metrics["disambiguation/accuracy_inkb"] == expected["accuracy"]
    assert metrics["disambiguation/macro_accuracy_inkb"] == expected["macro_accuracy"]
    assert metrics["disambiguation/shadowed_accuracy_inkb"] == expected["shadowed"]
    for split in ("test_a", "test_b"):
        assert metrics[f"disambiguation/{split}/accuracy_inkb"] == expected["splits"][split]["accuracy"]
        assert (
            result.intervals[f"disambiguation/{split}/accuracy_inkb"] == expected["splits"][split]["accuracy_interval"]
        )
    assert {name.split("/")[1] for name in metrics if "candidates" in name} == {"candidates_2-3", "candidates_4-7"}
    assert result.counts == {
        "mentions": expected["mentions"],
        "nil": expected["nil"],
        "excluded": 0,
        "splits": 2,
        "shadowed": expected["shadowed_mentions"],
    }
    spec = f"fusion:{place / 'fusion'}"
    assert result.encoder == {"spec": spec, "fingerprint": linker_fingerprint(spec)}
    assert found.items["accuracy_inkb"].to_numpy().mean() == pytest.approx(expected["accuracy"])
    assert all(one["answer"] != one["gold"] for one in result.facts["wrong"])
    assert 0 < len(result.facts["wrong"]) <= 3


def test_the_prior_is_its_own_baseline_and_compares(place, tmp_path):
    table = place / "examples.parquet"
    prior = run("disambiguation", table, "prior")
    metrics = prior.result.metrics
    assert metrics["disambiguation/accuracy_inkb"] == metrics["disambiguation/prior"]
    assert metrics["disambiguation/shadowed_accuracy_inkb"] == 0
    assert metrics["disambiguation/ceiling"] == 1
    fusion = run("disambiguation", table, f"fusion:{place / 'fusion'}")
    files = [write_result(tmp_path, one.result, one.items) for one in (prior, fusion)]
    (compared,) = compare_results(files)
    assert compared.names == ["prior", f"fusion:{place / 'fusion'}"]
    difference = compared.differences[1]["disambiguation/accuracy_inkb"]["difference"]
    assert difference == pytest.approx(
        fusion.result.metrics["disambiguation/accuracy_inkb"] - metrics["disambiguation/accuracy_inkb"]
    )
    assert set(compared.parts()) == {"test_a", "test_b"}


def test_coherence_reads_the_rest_of_the_text(place, texts, monkeypatch):
    found = run("disambiguation", texts, f"coherence:{place / 'kb'}")
    right = dict(zip(found.items["item"].to_pylist(), found.items["accuracy_inkb"].to_pylist(), strict=True))
    # Beside steel a crane is the machine; alone it is what its name mostly means.
    assert (right["0"], right["2"], right["4"]) == (1, 1, 0)
    # The knowledge base does not know herons: there the example's own prior answers.
    assert right["5"] == 1
    monkeypatch.setattr("openmofi.plugins.fusion.disambiguation._PART", 1)
    again = run("disambiguation", texts, f"coherence:{place / 'kb'}")
    assert again.items.equals(found.items)
    assert run("disambiguation", texts, "prior").items["accuracy_inkb"].to_pylist()[0] == 0
    with pytest.raises(OpenMofiError, match=r"has none of the .* candidates"):
        run("disambiguation", place / "examples.parquet", f"coherence:{place / 'kb'}")


def test_splits_and_lists_are_settings(place):
    found = run("disambiguation", place / "examples.parquet", "prior", overrides=["splits=test_b", "candidates=1"])
    assert found.result.settings == {"splits": ("test_b",), "candidates": 1, "detector": "gazetteer"}
    assert found.result.counts["splits"] == 1
    assert found.result.metrics["disambiguation/ceiling"] < 1
    with pytest.raises(UsageError, match="candidates is -1; it must be at least 0"):
        run("disambiguation", place / "examples.parquet", "prior", overrides=["candidates=-1"])


def test_linking_end_to_end_as_counted_by_hand(place, texts):
    found = run("linking", texts, "prior", overrides=[f"kb={place / 'kb'}"]).result
    # Seven annotations in five documents; the six gold ones are met in steel, stork and the crane beside it.
    assert {name: found.counts[name] for name in ("documents", "gold", "annotations", "gold_entities_not_in_kb")} == {
        "documents": 5,
        "gold": 6,
        "annotations": 7,
        "gold_entities_not_in_kb": 1,
    }
    for part in ("", "test/"):
        for way in ("strong", "weak"):
            assert found.metrics[f"linking/{part}micro_precision_{way}"] == pytest.approx(3 / 7)
            assert found.metrics[f"linking/{part}micro_recall_{way}"] == pytest.approx(3 / 6)
            assert found.metrics[f"linking/{part}micro_f1_{way}"] == pytest.approx(6 / 13)
    coherent = run("linking", texts, "coherence", overrides=[f"kb={place / 'kb'}"])
    assert coherent.result.metrics["linking/micro_recall_strong"] == pytest.approx(4 / 6)
    assert coherent.items["micro_recall_strong"].to_numpy().mean() == pytest.approx(4 / 6)
    low, high = coherent.result.intervals["linking/micro_f1_strong"]
    assert low < coherent.result.metrics["linking/micro_f1_strong"] < high


def test_linking_with_the_fusion_decoder_and_a_threshold(place, texts):
    options = [f"kb={place / 'kb'}"]
    fusion = run("linking", texts, f"fusion:{place / 'fusion'}", overrides=options).result
    assert fusion.counts["annotations"] >= 4
    strict = run("linking", texts, f"fusion:{place / 'fusion'}", overrides=[*options, "threshold=1"]).result
    assert strict.counts["annotations"] == 0
    assert strict.metrics["linking/micro_precision_strong"] == strict.metrics["linking/micro_f1_strong"] == 0
    with pytest.raises(UsageError, match="threshold is 2; it must lie between 0 and 1"):
        run("linking", texts, "prior", overrides=[*options, "threshold=2"])


@pytest.mark.parametrize(
    ("protocol", "linker", "overrides", "told"),
    [
        ("disambiguation", "", [], "disambiguation needs a linker"),
        ("disambiguation", "coherence", [], "Unknown value 'coherence' for linker, with given candidates"),
        ("disambiguation", "fusion:", [], "Unknown value 'fusion:' for linker"),
        ("disambiguation", "fusion:nowhere", [], "nowhere is not a fusion decoder"),
        ("linking", "prior", [], "needs a knowledge base"),
        ("linking", "best", ["kb=x"], "unknown value 'best' for linker"),
        ("linking", "prior", ["kb=nowhere"], "nowhere"),
        ("retrieval", "prior", [], "retrieval needs an encoder"),
        ("labels", "prior", [], "labels does not judge a linker"),
    ],
)
def test_what_cannot_be_judged_is_told(place, protocol, linker, overrides, told):
    with pytest.raises(OpenMofiError, match=told):
        run(protocol, place / "examples.parquet", linker, overrides=overrides)


def test_an_encoder_is_no_linker(place):
    with pytest.raises(UsageError, match=r"does not judge an encoder.* Give --linker SPEC in its place"):
        evaluate("disambiguation", Eye(), place / "examples.parquet", "unused", Quiet(), linker="prior")
    with pytest.raises(UsageError, match=r"labels does not judge an encoder.* Leave it out"):
        evaluate("labels", Eye(), place, "unused", Quiet())
    with pytest.raises(UsageError, match=r"knn does not judge a linker.* Give --encoder SPEC in its place"):
        evaluate("knn", Eye(), place, "unused", Quiet(), linker="prior")


def test_gold_of_another_knowledge_base_is_reported(place):
    with pytest.raises(OpenMofiError, match=r"has none of the .* gold entities"):
        run("linking", place / "examples.parquet", "prior", overrides=[f"kb={place / 'kb'}"])

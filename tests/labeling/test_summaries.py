"""What footers say of links and labels, beside what their rows say."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.summaries import CorpusSummary, LabelSummary, LinkSummary, MarkedCounts
from openmofi.labeling.tables import accepted_labels, link_arrays
from openmofi.storage.table_files import Footer, table_footer


@given(
    st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**16 - 2)), unique_by=lambda each: each[0]),
    st.dictionaries(st.text(), st.integers(1, 10**9), max_size=5),
)
def test_notes_come_back(entities, pieces):
    row, rank = (
        np.array(values, kind)
        for values, kind in zip(
            zip(*sorted(entities), strict=True) if entities else ((), ()), (np.int32, np.uint16), strict=True
        )
    )
    summary = LinkSummary.packed(7, MarkedCounts(9, 4, {"url": 4}, pieces), row, rank)
    back = LinkSummary.of(Footer(7, summary.notes()))
    assert (back.rows, back.marked) == (7, summary.marked)
    for values, expected in zip(back.unpacked(), (row, rank), strict=True):
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("damage", [lambda text: "", lambda text: text[:-3], lambda text: "[]", lambda text: "Zm9v"])
def test_damaged_notes_are_none(damage):
    notes = LinkSummary.packed(1, MarkedCounts(), np.arange(3), np.zeros(3, np.uint16)).notes()
    assert LinkSummary.of(Footer(1, notes))
    assert LinkSummary.of(Footer(1, {note: damage(text) for note, text in notes.items()})) is None
    assert LinkSummary.of(Footer(1, {})) is None
    assert LinkSummary.of(None) is None


@pytest.mark.slow
@pytest.mark.parametrize("most", [1, 2, 5])
def test_the_footers_name_the_entities_that_the_rows_judge(small_world, labelled, most):
    kb, judged = KnowledgeBase.open(small_world.kb), set()
    corpus = CorpusSummary.of_none(len(kb))
    for path in sorted((labelled / "links").glob("*/*.parquet")):
        links = link_arrays(pq.read_table(path)["links"], most)
        judged |= {links.entity_ids[number].as_py() for number in np.unique(links.entity[links.judged])}
        summary = LinkSummary.of(table_footer(path))
        assert summary.rows == pq.read_metadata(path).num_rows
        corpus.add(path.name, summary)
    assert set(kb.ids(corpus.judged(most))) == judged
    assert sum(corpus.rows.values()) == len(small_world.truth)


@pytest.mark.slow
def test_the_footers_count_the_labels(labelled):
    for path in (labelled / "labels").glob("*.parquet"):
        table = pq.read_table(path)
        summary = LabelSummary.of(table_footer(path))
        accepted = [
            probability
            for row in table.to_pylist()
            for probability in {
                each["entity"]: each["probability"] for each in row["entities"] if each["accepted"]
            }.values()
        ]
        assert summary.status == Counter(table["status"].to_pylist())
        assert summary.accepted == len(accepted)
        assert summary.expected_precision == pytest.approx(np.mean(accepted), abs=1e-6)


def test_no_labels_have_no_expected_precision():
    assert (LabelSummary({}, {}, 0, 0) + LabelSummary({}, {}, 0, 0)).expected_precision is None
    assert LabelSummary.of(Footer(0, LabelSummary({}, {}, 0, 0).notes())).accepted == 0
    for damage in ("", "[]", "{}", '{"status": {}, "unread": {}, "accepted": "1", "millionths": 1}'):
        assert LabelSummary.of(Footer(0, {LabelSummary.NOTE: damage})) is None


def label_table(shares, mentions=1):
    """Labels of one accepted entity a row, which the text names so many times."""
    entities = [[{"entity": "Q1", "probability": share, "accepted": True}] * mentions for share in shares]
    element = pa.struct([("entity", pa.string()), ("probability", pa.float32()), ("accepted", pa.bool_())])
    return pa.table({"status": ["labelled"] * len(shares), "entities": pa.array(entities, pa.list_(element))})


@given(st.lists(st.floats(0, 1, width=32), max_size=5), st.integers(2, 4))
def test_what_a_text_names_twice_is_one_label(shares, mentions):
    once, often = (LabelSummary.of_table(label_table(shares, times)) for times in (1, mentions))
    assert often == once
    assert often.accepted == len(shares)
    rows, labels = accepted_labels(label_table(shares, mentions))
    assert rows.to_pylist() == list(range(len(shares)))
    assert labels.field("probability").to_pylist() == shares


SHARDS = st.lists(st.lists(st.floats(0, 1, width=32), max_size=5), min_size=1, max_size=8)


@given(SHARDS, st.randoms())
def test_in_whatever_order_shards_come_their_sum_is_the_same(shards, random):
    summaries = [LabelSummary.of_table(label_table(shard)) for shard in shards]
    first, second = (sum(random.sample(summaries, len(summaries)), LabelSummary({}, {}, 0, 0)) for _ in range(2))
    assert first.notes() == second.notes()
    assert first.rows == first.accepted == sum(map(len, shards))
    every = np.array([share for shard in shards for share in shard], np.float64)
    expected = first.expected_precision
    assert expected is None if not len(every) else expected == pytest.approx(every.mean(), abs=1e-6)

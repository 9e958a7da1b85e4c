"""What footers say of links and labels, beside what their rows say."""

from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.judge.summary import LabelSummary
from openmofi.labeling.read.links import link_arrays
from openmofi.labeling.read.marked import MarkedCounts
from openmofi.labeling.read.summary import CorpusSummary, LinkSummary
from openmofi.storage.atomic import Footer, table_footer


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**16 - 2)), unique_by=lambda each: each[0]),
       st.dictionaries(st.text(), st.integers(1, 10**9), max_size=5))
def test_notes_come_back(entities, pieces):
    row, rank = (np.array(values, kind) for values, kind in zip(
        zip(*sorted(entities), strict=True) if entities else ((), ()), (np.int32, np.uint16), strict=True))
    summary = LinkSummary(7, MarkedCounts(9, 4, Counter({"url": 4}), Counter(pieces)), row, rank)
    back = LinkSummary.of(Footer(7, summary.notes()))
    assert (back.rows, back.marked) == (7, summary.marked)
    np.testing.assert_array_equal(back.entities, row)
    np.testing.assert_array_equal(back.ranks, rank)


@pytest.mark.parametrize("damage", [lambda text: "", lambda text: text[:-3], lambda text: "[]", lambda text: "Zm9v"])
@pytest.mark.parametrize("note", ["openmofi.marked", "openmofi.entities", "openmofi.ranks"])
def test_damaged_notes_are_none(note, damage):
    notes = LinkSummary(1, MarkedCounts(), np.arange(3, dtype=np.int32), np.zeros(3, np.uint16)).notes()
    assert LinkSummary.of(Footer(1, notes))
    assert LinkSummary.of(Footer(1, {**notes, note: damage(notes[note])})) is None
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
        accepted = [one["probability"] for row in table.to_pylist() for one in row["entities"] if one["accepted"]]
        assert summary.status == Counter(table["status"].to_pylist())
        assert summary.accepted == len(accepted)
        assert summary.expected_precision == pytest.approx(np.mean(accepted), abs=1e-12)
        mean, labels = summary.probabilities
        assert np.average(mean**3, weights=labels) == pytest.approx(np.mean(np.array(accepted)**3), abs=1e-6)


def test_no_labels_have_no_expected_precision():
    assert (LabelSummary() + LabelSummary()).expected_precision is None
    assert LabelSummary.of(Footer(0, LabelSummary().notes())).accepted == 0
    for damage in ("", "[]", "{}", '{"status": {}, "unread": {}, "bins": [[2000, 1, 1]]}'):
        assert LabelSummary.of(Footer(0, {"openmofi.labels": damage})) is None

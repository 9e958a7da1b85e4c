"""Namesakes and siblings, against what the knowledge base itself says of the classes."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.knowledge import KnowledgeBase
from openmofi.schema import RELATIONS
from openmofi.storage import write_table
from openmofi.training.data.texts import Groups, HardNegatives

from ...small_world import write_kb_source


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=20), st.integers(0, 99))
def test_a_draw_shares_a_group_and_is_another_class(pairs, seed):
    classes, groups = np.array(pairs, np.int64).reshape(-1, 2).T
    made = Groups.of(classes, groups, 6)
    drawn = made.draw(np.arange(6), np.random.default_rng(seed).random((6, 2)))
    for one, other in enumerate(drawn.tolist()):
        partners = {c for c, g in pairs if c != one and (one, g) in pairs}
        assert other in partners if partners else other == -1


def test_every_partner_is_drawn_equally_often_in_one_group():
    made = Groups.of(np.arange(4), np.zeros(4, np.int64), 4)
    random = np.random.default_rng(0).random((9000, 2))
    drawn = made.draw(np.zeros(9000, np.int64), random)
    counts = np.bincount(drawn, minlength=4)
    assert counts[0] == 0
    # The one after it gets the draws that met itself too.
    assert counts[1:].tolist() == pytest.approx([4500, 2250, 2250], rel=0.1)


@pytest.fixture(scope="module")
def kb(tmp_path_factory):
    from openmofi.knowledge import build_table

    folder = tmp_path_factory.mktemp("kb")
    source = write_kb_source(folder / "source")
    above = [
        ("e:tent", "instance of", "e:peak"),
        ("e:brick", "hypernym", "e:peak"),
        ("e:lawn", "hypernym", "e:peak"),
        ("e:lawn", "colour", "e:orange-firm"),
        ("e:orange-fruit", "colour", "e:orange-firm"),
    ]
    write_table(
        source / "relations.parquet",
        pa.Table.from_pylist(
            [{"head": head, "relation": relation, "tail": tail} for head, relation, tail in above], RELATIONS
        ),
    )
    build_table(source, folder / "kb")
    return KnowledgeBase.open(folder / "kb")


def test_they_are_the_namesakes_and_siblings_of_the_base(kb):
    ids = list(kb)
    hard = HardNegatives.of(kb, ids, 3)
    assert (hard.siblings.draw(np.arange(len(ids)), np.zeros((len(ids), 2))) >= 0).sum() == 3
    for groups, common in (
        (hard.namesakes, kb.names_of),
        (
            hard.siblings,
            lambda entity: [relation.entity.id for relation in kb.relations(entity) if relation.name != "colour"],
        ),
    ):
        sets = [set(common(entity)) for entity in ids]
        drawn = groups.draw(np.arange(len(ids)), np.random.default_rng(0).random((len(ids), 2)))
        for one, other in enumerate(drawn.tolist()):
            partners = {c for c in range(len(ids)) if c != one and sets[c] & sets[one]}
            assert other in partners if partners else other == -1


def test_a_step_decides_and_shares_are_parts_of_the_whole(kb):
    hard = HardNegatives.of(kb, list(kb), 3)
    classes = np.arange(12) % len(kb)
    whole = hard.draw(classes, 5, 12, slice(0, 12))
    parts = [hard.draw(classes[half], 5, 12, half) for half in (slice(0, 6), slice(6, 12))]
    assert np.array_equal(np.concatenate(parts), whole)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.encoders import open_encoder
from openmofi.engine import LocalEngine, Quiet
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.job import read_corpus
from openmofi.labeling.label_settings import LabelSettings
from openmofi.labeling.tables import ReadShard
from openmofi.plugins.adapter.bags import balanced_folds, collect_bags
from openmofi.storage import expand_shards

groups = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 6), max_size=80)


@given(groups, st.integers(1, 6))
def test_a_group_is_in_one_fold_and_folds_are_as_equal_as_largest_first_makes_them(numbers, count):
    fold = balanced_folds(np.array(numbers, np.uint64), count)
    of_group = {}
    for number, chosen in zip(numbers, fold.tolist(), strict=True):
        assert of_group.setdefault(number, chosen) == chosen
    # Oracle: largest first into the emptiest, by plain loops.
    held = [0] * count
    for size, number in sorted((-numbers.count(number), number) for number in set(numbers)):
        emptiest = held.index(min(held))
        assert of_group[number] == emptiest
        held[emptiest] -= size
    assert np.bincount(fold, minlength=count).tolist() == held


def test_a_group_that_holds_much_does_not_unbalance_the_folds():
    numbers = np.concatenate([np.full(1700, 9), np.arange(10, 8310)]).astype(np.uint64)
    assert np.bincount(balanced_folds(numbers, 4)).tolist() == [2500] * 4


@pytest.mark.slow
def test_bags_know_shard_and_group_of_each_pair(small_world, small_encoder, labelled):
    shards = expand_shards([str(small_world.shards)])
    corpus = read_corpus(
        shards,
        KnowledgeBase.open(small_world.kb),
        open_encoder(small_encoder),
        LabelSettings(),
        labelled,
        LocalEngine(),
        Quiet(),
    )
    bags = collect_bags(corpus.tables, corpus.shards, corpus.entities, 10**6)
    expected = {
        (read.shard.fingerprint, key): group
        for shard in corpus.shards
        for read in ReadShard.blocks(corpus.tables, shard)
        for key, group, usable in zip(read.keys, read.groups, read.usable, strict=True)
        if usable
    }
    assert dict(zip(zip(bags.shards, bags.keys, strict=True), bags.groups, strict=True)) == expected
    assert len(bags) == len(expected)
    folds = open_encoder(small_encoder).companions.folds
    fold = np.concatenate(
        [folds.of(shard.fingerprint, [key for of, key in expected if of == shard.fingerprint]) for shard in shards]
    )
    assert np.bincount(fold).max() - np.bincount(fold).min() < 0.05 * len(bags)
    of_group = dict(zip(bags.groups.tolist(), fold.tolist(), strict=True))
    assert [of_group[number] for number in bags.groups.tolist()] == fold.tolist()

from collections import Counter

import numpy as np
import pytest

from openmofi.dataset.report.sample import Kinds, cells, draw
from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError, UsageError

BOTH = ("probability", "type")


@pytest.fixture
def folder(world):
    return Folder.open(world.labels, "labels")


def labels_of(sample):
    return [(drawn.candidate.shard, drawn.candidate.row, drawn.candidate.entity) for drawn in sample.drawn]


def test_cells_count_every_label_once(folder, lookup):
    from openmofi.dataset.objects import Labels

    found = cells(folder, Kinds(lookup))
    accepted = Labels(folder).accepted()
    distinct = {tuple(row.values()) for row in accepted.select(["shard", "key", "entity"]).to_pylist()}
    assert sum(content.labels for cell, content in found.items() if cell[0]) == len(distinct)
    assert {cell[2] for cell in found} == {"even", "no type", "odd"}


def test_the_draw_is_stratified_and_seeded(folder, lookup):
    sample = draw(folder, Kinds(lookup), 60, BOTH, 3)
    assert labels_of(sample) == labels_of(draw(folder, Kinds(lookup), 60, BOTH, 3))
    assert labels_of(sample) != labels_of(draw(folder, Kinds(lookup), 60, BOTH, 4))
    assert len(set(labels_of(sample))) == 60
    assert (sample.accepted, 60 - sample.accepted) == (48, 12)
    counts = Counter(drawn.stratum for drawn in sample.drawn)
    for position, stratum in enumerate(sample.strata):
        if stratum.accepted:
            assert counts[position] >= min(2, stratum.labels)
    by_name = {stratum.name for stratum in sample.strata}
    assert {"accepted, 0.80–0.90, odd", "below the threshold, 0.10–0.30"} <= by_name


def test_order_is_random_so_that_half_a_look_is_fair(folder, lookup):
    sample = draw(folder, Kinds(lookup), 100, BOTH, 0)
    first = [drawn.stratum for drawn in sample.drawn[:50]]
    assert len(set(first)) > len(sample.strata) / 2
    assert first != sorted(first)


def test_every_label_of_a_stratum_is_drawn_equally_often(folder, lookup):
    drawn = Counter()
    for seed in range(150):
        for label, entry in zip(
            labels_of(sample := draw(folder, Kinds(lookup), 40, (), seed)), sample.drawn, strict=True
        ):
            drawn[entry.stratum, label] += 1
    stratum = next(position for position, stratum in enumerate(sample.strata) if stratum.accepted)
    expected = 150 * sample.accepted / sample.strata[stratum].labels
    counts = [drawn[key] for key in drawn if key[0] == stratum]
    assert np.mean(counts) == pytest.approx(expected, rel=0.05)
    assert np.std(counts) < 2 * np.sqrt(expected)


def test_a_sample_larger_than_the_labels_is_all_of_them(folder, lookup):
    sample = draw(folder, Kinds(lookup), 10_000, ("probability",), 0)
    counts = Counter(drawn.stratum for drawn in sample.drawn)
    assert [counts[position] for position in range(len(sample.strata))] == [part.labels for part in sample.strata]


def test_without_a_knowledge_base_there_is_one_type(folder):
    assert {cell[2] for cell in cells(folder, Kinds(None))} == {"no type"}


@pytest.mark.parametrize(("size", "by", "says"), [(0, BOTH, "A sample of 0"), (10, ("colour",), "'colour'")])
def test_wrong_use(folder, size, by, says):
    with pytest.raises(UsageError, match=says):
        draw(folder, Kinds(None), size, by, 0)


def test_labels_without_an_accepted_one(small_labels, rows):
    path = small_labels({"a": [rows.label_row("1", "x", "no_mention")]})
    with pytest.raises(OpenMofiError, match=r"has no label to look at, and no candidate of probability 0\.1"):
        draw(Folder.open(path, "labels"), Kinds(None), 10, BOTH, 0)


def test_where_nothing_was_accepted_candidates_are_drawn(small_labels, rows):
    mentions = [{"start": 0, "end": 1, "surface": "x", "detector": "gazetteer"}]
    judged = [
        rows.label_row(
            str(key), "x", "rejected", mentions, [rows.judgement("e", 0, 0.11 + key / 50, False, "below_threshold")]
        )
        for key in range(20)
    ]
    sample = draw(Folder.open(small_labels({"a": judged}), "labels"), Kinds(None), 10, BOTH, 0)
    assert (sample.accepted, len(sample.drawn)) == (0, 10)
    assert not any(stratum.accepted for stratum in sample.strata)

"""Groups: pairs that share a template, a source or an image have one number, wherever it is asked for."""

from __future__ import annotations

import random
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.engine.two_pass import merged
from openmofi.labeling import groups
from openmofi.labeling.groups import GroupMerge, PairKeys, groups_of, source_key, template_key
from openmofi.mentions.repeats import text_hash

HASHES = [0x0F0F0F0F0F0F0F0F, 0x3333333333333333, 0x5555555555555555]
OTHERS = [(100 + number, 1000 + number, 0) for number in range(90)]


def block(*rows: tuple[int, int, int | None]) -> PairKeys:
    """Keys of (template, source, phash) a row."""
    template, source, phash = (
        (pa.array(column, pa.uint64()) for column in zip(*rows, strict=True))
        if rows
        else (pa.array([], pa.uint64()),) * 3
    )
    return PairKeys.of(pa.table({"template": template, "source": source}), pa.table({"phash": phash}))


def numbers(*blocks: PairKeys) -> list[list[int]]:
    """The groups of shards of one block each."""
    joined = merged(GroupMerge(sum(part.values.shape[1] for part in blocks)), lambda: blocks)
    return [
        groups_of(f"shard-{number}", [f"{row}" for row in range(part.values.shape[1])], part, joined).tolist()
        for number, part in enumerate(blocks)
    ]


def test_a_template_a_source_and_an_image_join_also_over_shards_and_by_way_of_others():
    first, second = numbers(
        block((7, 0, HASHES[0]), (0, 5, None), (0, 0, None), *OTHERS),
        block((7, 0, None), (0, 5, HASHES[0]), (0, 0, HASHES[1]), (0, 0, HASHES[1]), (0, 0, None)),
    )
    assert first[0] == second[0] == second[1] == first[1]
    assert second[2] == second[3]
    alone = [first[2], second[4], second[2], *first[3:]]
    assert len(set(alone)) == len(alone)
    assert 0 not in {*first, *second}


def test_equal_values_of_different_kinds_join_nothing():
    same = HASHES[0]
    (first,) = numbers(block((same, 0, None), (0, same, None), (0, 0, same), *OTHERS))
    assert len(set(first)) == len(first)


def test_any_cut_into_blocks_and_any_order_gives_the_same_numbers():
    draw = random.Random(1)
    rows = [
        (draw.choice((0, *range(1, 90))), draw.choice((0, *range(1, 90))), draw.choice((None, *HASHES)))
        for _ in range(40)
    ] + OTHERS
    keys, whole = [f"{row}" for row in range(len(rows))], block(*rows)
    expected = groups_of("shard", keys, whole, merged(GroupMerge(len(rows)), lambda: [whole]))
    assert 1 < len(set(expected.tolist())) < len(rows)
    for size in (1, 7, 64):
        parts = [block(*rows[start : start + size]) for start in range(0, len(rows), size)]
        joined = merged(GroupMerge(len(rows)), lambda parts=parts: reversed(parts))
        found = [
            groups_of("shard", keys[number * size : (number + 1) * size], part, joined)
            for number, part in enumerate(parts)
        ]
        assert np.concatenate(found).tolist() == expected.tolist()


@pytest.mark.parametrize("held", [1, 50])
def test_a_full_sketch_and_a_small_store_of_edges_change_no_group(monkeypatch, held):
    draw = random.Random(2)
    parts = [block(*((draw.randrange(1, 400), draw.randrange(1, 400), None) for _ in range(50))) for _ in range(4)]
    expected = np.unique(numbers(*parts), return_inverse=True)[1]
    monkeypatch.setattr(groups, "_SKETCH_BITS", (3, 3))
    monkeypatch.setattr(groups, "_HELD", held)
    found = np.unique(numbers(*parts), return_inverse=True)[1]
    same = expected.reshape(-1)[:, None] == expected.reshape(-1)
    assert (same == (found.reshape(-1)[:, None] == found.reshape(-1))).all()


def test_sources_join_templates_only_while_the_group_stays_small():
    first = [(7, 1, None), (7, 2, None), (8, 2, None), (8, 3, None), (0, 3, None), (0, 3, None)]
    (few,) = numbers(block(*first, *OTHERS[:60]))
    (many,) = numbers(block(*first, *OTHERS, *((300 + number, 3000 + number, 0) for number in range(60))))
    assert few[0] == few[1] != few[2] == few[3]
    assert few[4] == few[5] not in few[:4]
    assert len(set(many[:6])) == 1


def test_a_source_of_all_and_empty_images_join_nothing():
    (first,) = numbers(block((0, 5, 0xFF00), *((0, 5, 1) for _ in range(10)), *((0, 5, (1 << 64) - 1),) * 2))
    assert len(set(first)) == 11 + 2


@pytest.mark.parametrize("parts", [[], [block()], [block(), block((1, 0, None))]])
def test_no_rows(parts):
    assert [len(of_part) for of_part in numbers(*parts)] == [part.values.shape[1] for part in parts]


def test_keys_of_sources_and_templates():
    assert source_key("a/b/001", "") == source_key("a/b/002", "") != source_key("a/c/001", "")
    assert source_key("1", "https://www.aiga.org/x.png") == source_key("z/2", "http://aiga.org/y") != 0
    assert source_key("a/1", "Openclipart") == source_key("b/2", "Openclipart") not in (0, source_key("a/1", ""))
    assert source_key("001", "shapes/a.svg") == source_key("shapes/002", "") != source_key("001", "things/a.svg")
    assert source_key("001", "") == 0
    assert template_key("A red apple", None) == template_key("a  RED apple", None) != template_key("a red pear", None)
    assert template_key("red apple", None) == template_key("", None) == 0
    assert template_key("x", SimpleNamespace(template=5)) == 5


@given(st.text(st.sampled_from("ahtps:/?#[]@.w1é\t\n% "), max_size=24) | st.from_regex(r"[a-z]{1,5}://[^x]{0,20}"))
@settings(derandomize=True)
def test_a_source_is_the_host_of_the_whole_address(url):
    try:
        host = (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        host = ""
    source = host or url.rpartition("/")[0] or url
    assert source_key("", url) == (text_hash(source) if source else 0)

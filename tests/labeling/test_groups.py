"""Groups: pairs that share a template, a source or an image have one number, wherever it is asked for."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.engine import LocalEngine, Quiet, two_pass
from openmofi.engine.steps import Running
from openmofi.labeling import group_merge
from openmofi.labeling.group_merge import merge_groups
from openmofi.labeling.groups import PairKeys, groups_of, source_key, template_key
from openmofi.mentions.repeats import text_hash
from openmofi.storage import Shard

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


def merged(blocks: Sequence[PairKeys]) -> pa.Table:
    """The groups of a corpus whose shards are one block each."""
    with tempfile.TemporaryDirectory() as folder:
        shards = [Shard("", str(number)) for number in range(len(blocks))]
        pairs = sum(block.values.shape[1] for block in blocks)
        running = Running(LocalEngine(), Quiet())
        merge_groups(f"{folder}/x.arrow", lambda of: [blocks[int(shard.name)] for shard in of], shards, pairs, running)
        assert [file.name for file in Path(folder).iterdir()] == ["x.arrow"]
        return pa.ipc.open_file(f"{folder}/x.arrow").read_all()


def numbers(*blocks: PairKeys) -> list[list[int]]:
    """The groups of shards of one block each."""
    joined = merged(blocks)
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
    expected = groups_of("shard", keys, whole, merged([whole]))
    assert 1 < len(set(expected.tolist())) < len(rows)
    for size in (1, 7, 64):
        parts = [block(*rows[start : start + size]) for start in range(0, len(rows), size)]
        joined = merged(parts[::-1])
        found = [
            groups_of("shard", keys[number * size : (number + 1) * size], part, joined)
            for number, part in enumerate(parts)
        ]
        assert np.concatenate(found).tolist() == expected.tolist()


def plain(blocks: Sequence[PairKeys]) -> dict[int, int]:
    """The groups by the head of `openmofi.labeling.groups`, with NetworkX: key → the least of its group."""
    pairs = [[int(key) for key in column] for block in blocks for column in block.values.T]
    counts = Counter((kind, key) for pair in pairs for kind, key in enumerate(pair) if key)
    kept = {(0, 0): 0} | {
        (kind, key): key for (kind, key), count in counts.items() if count > 1 and (kind or count <= 0.05 * len(pairs))
    }
    triples = [[kept.get((kind, key), 0) for kind, key in enumerate(pair)] for pair in pairs]
    graph = nx.Graph()
    graph.add_nodes_from(kept.values())
    graph.add_edges_from((template, image) for _, template, image in triples if template and image)
    size = Counter(template or image or source for source, template, image in triples)
    for source in sorted({source for source, *_ in triples if source}, key=lambda key: (counts[0, key], key)):
        parts = [
            nx.node_connected_component(graph, key)
            for key in (source, *(t or i for s, t, i in triples if s == source and (t or i)))
        ]
        if sum(size[key] for key in set().union(*parts)) <= 0.05 * len(pairs):
            graph.add_edges_from((source, next(iter(part))) for part in parts)
    graph.remove_node(0)
    return {key: min(group) for group in nx.connected_components(graph) for key in group}


@given(st.data(), st.sampled_from([(1 << 22, 1 << 23, 1 << 21, 1 << 20), (50, 64, 4, 8), (1000, 100, 1, 1)]))
@settings(derandomize=True, max_examples=25, deadline=None)
def test_groups_are_those_of_a_plain_reading_however_the_work_is_cut(data, sizes):
    draw = random.Random(data.draw(st.integers(0, 2**32)))
    most = [draw.choice((3, 30, 300)) for _ in range(3)]
    rows = [tuple(draw.choice((0, draw.randrange(1, of))) for of in most) for _ in range(draw.choice((5, 60, 150)))]
    rows = [(template, source, image * 0x0101010101010155 % 2**64 or None) for template, source, image in rows]
    step = draw.choice((9, 64))
    blocks = [block(*rows[start : start + step]) for start in range(0, len(rows), step)]
    with pytest.MonkeyPatch.context() as patch:
        for name, size in zip(("_PART", "_RANGE", "_LINKS", "_BLOCK"), sizes, strict=True):
            patch.setattr(group_merge, name, size)
        patch.setattr(two_pass, "PART", sizes[0])
        found = merged(blocks)
    expected = plain(blocks)
    assert dict(zip(found["key"].to_pylist(), found["group"].to_pylist(), strict=True)) == expected
    assert found["key"].to_pylist() == sorted(expected)


def test_a_long_chain_is_one_group():
    """Each pair has its template from the one before and its image from the one behind."""
    images = [number * 0x9E3779B97F4A7C15 % 2**64 for number in range(1, 20_001)]
    chain = [(1 + number // 2, 0, images[(number + 1) // 2]) for number in range(20_000)]
    shuffled = random.Random(3).sample(chain, len(chain))
    joined = merged([block(*shuffled[start : start + 1000]) for start in range(0, len(shuffled), 1000)])
    (graph,) = nx.connected_components(nx.Graph((("t", template), ("i", image)) for template, _, image in chain))
    assert len(set(joined["group"].to_pylist())) == 1
    assert len(joined) >= len(graph) - 2


def test_one_image_for_all_is_one_key(monkeypatch):
    monkeypatch.setattr(group_merge, "_RANGE", 1000)
    joined = merged([block(*((0, 0, HASHES[0]) for _ in range(5000))) for _ in range(4)])
    assert len(joined) == 1


def test_what_tasks_hold_does_not_grow_with_pairs_of_one_text_and_one_image(monkeypatch):
    """200,000 pairs in 20 parts, whose keys all fall in two of 64 ranges."""
    monkeypatch.setattr(group_merge, "_RANGE", 10_000)
    monkeypatch.setattr(two_pass, "PART", 1)
    counted, summed, written = [], [], []
    keep, of_triples, write = group_merge._Merge.keep, group_merge._summed, group_merge.write_arrow

    def watched_keep(merge, number):
        counted.extend(len(pa.ipc.open_file(merge._counted(part)).read_all()) for part in range(merge.parts))
        return keep(merge, number)

    monkeypatch.setattr(group_merge._Merge, "keep", watched_keep)
    monkeypatch.setattr(
        group_merge, "_summed", lambda parts: summed.append(sum(len(pairs) for _, pairs in parts)) or of_triples(parts)
    )
    monkeypatch.setattr(
        group_merge, "write_arrow", lambda path, table: written.append(len(table)) or write(path, table)
    )
    one = block(*((7, 0, HASHES[0]) for _ in range(10_000)))
    joined = merged([one] * 20)
    assert len(joined) == 2
    assert len(set(joined["group"].to_pylist())) == 1
    assert set(counted) == {2}
    assert sorted(summed) == [*[1] * 20, *[10_000] * 20]
    assert written == [*[1] * 20, 2]


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

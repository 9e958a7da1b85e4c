"""Which members are a pair, against the reader of the `webdataset` library, and no image is lost without a word."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tars import read, tar_bytes
from webdataset.tariterators import group_by_keys, tar_file_iterator

from openmofi.pairs import ReadSettings, read_pairs
from openmofi.pairs.formats import grouping
from openmofi.pairs.formats.grouping import Grouper, MemberContent, split_name
from openmofi.pairs.formats.tar import locate_images
from openmofi.schema import Pair, PairStatus
from openmofi.storage import Shard

IMAGES = {"jpg", "png"}
SUN = [
    (f"sun{dot}.{extension}", f"{dot}{extension}".encode())
    for dot in ("", *(f".{number}" for number in range(2, 11)))
    for extension in ("jpg", "txt")
]
"""Ten photographs of the sun, as a file manager numbers them."""
VERSIONS = [
    (f"v1.{number:04d}.{extension}", b"{}" if extension == "json" else f"{number}".encode())
    for number in range(1000)
    for extension in ("jpg", "json", "txt")
]
"""A thousand sound triples whose keys by WebDataset's rule are one."""


def brief(pairs: list[Pair]) -> list[tuple[str, bytes | None, str, str]]:
    return [(pair.key, pair.image, pair.text, pair.status.name) for pair in pairs]


def grouped(members: list[tuple[str, bytes]]) -> tuple[list[Pair], Grouper]:
    """The pairs of members, without a file."""
    grouper, pairs = Grouper(ReadSettings()), []
    for name, data in members:
        if parts := split_name(name):
            pairs += grouper.add(*parts, MemberContent(data), len(data))
    return [*pairs, *grouper.close()], grouper


def in_folder(folder: Path, members: list[tuple[str, bytes]]) -> list[Pair]:
    for name, data in members:
        (folder / name).write_bytes(data)
    return list(read_pairs(Shard(str(folder), "f")))


def test_photographs_that_a_file_manager_numbered_are_each_a_pair(tmp_path, caplog):
    expected = sorted(
        (f"sun{dot}", f"{dot}jpg".encode(), f"{dot}txt", "OK")
        for dot in ("", *(f".{number}" for number in range(2, 11)))
    )
    assert sorted(brief(read(tmp_path, SUN))) == expected
    (tmp_path / "folder").mkdir()
    assert sorted(brief(in_folder(tmp_path / "folder", SUN))) == expected
    assert not caplog.text


@pytest.mark.parametrize("held", [128 << 20, 4096])
def test_a_thousand_sound_triples_of_one_key_are_a_thousand_rows(tmp_path, monkeypatch, held):
    monkeypatch.setattr(grouping, "_MAX_HELD", held)
    expected = [(f"v1.{number:04d}", f"{number}".encode(), f"{number}", "OK") for number in range(1000)]
    assert brief(read(tmp_path, VERSIONS)) == expected
    assert [key for key, _, _ in locate_images(str(tmp_path / "x.tar"))] == [row[0] for row in expected]
    (tmp_path / "folder").mkdir()
    assert brief(in_folder(tmp_path / "folder", VERSIONS)) == expected


def test_a_large_key_is_paired_in_parts_that_tear_no_pair(monkeypatch):
    monkeypatch.setattr(grouping, "_MAX_HELD", 5000)
    grouper, pairs, most = Grouper(ReadSettings()), [], 0
    names = sorted(
        f"{stem}.{kind}" for stem in (f"v1.{n:04d}" for n in range(400)) for kind in ("jpg", "mask.png", "txt")
    )
    for name in names:
        pairs += grouper.add(*split_name(name), MemberContent(name.encode() * 20), 20 * len(name))
        most = max(most, sum(len(content.data) for content in grouper._members.values()))
    pairs += grouper.close()
    assert most < 5000 + 3 * 20 * 20
    assert [(pair.key, pair.image) for pair in pairs] == [
        (f"v1.{n:04d}", f"v1.{n:04d}.jpg".encode() * 20) for n in range(400)
    ]
    assert {pair.status for pair in pairs} == {PairStatus.OK}
    assert grouper.passed_over == {"images": 400}


def test_the_parts_of_a_sample_may_have_names_with_dots(tmp_path, caplog):
    members = [
        (f"s{number}.{extension}", f"{number}".encode())
        for number in range(55)
        for extension in ("image.jpg", "caption.txt")
    ]
    assert brief(read(tmp_path, members)) == [(f"s{n}", f"{n}".encode(), f"{n}", "OK") for n in range(55)]
    assert not caplog.text


@pytest.mark.parametrize(
    ("names", "expected", "passed_over"),
    [
        (["a.jpg", "a.txt", "a.2.jpg"], [("a", "a.jpg", "a.txt")], {"images": 1}),
        (["a.jpg", "a.2.jpg", "a.2.txt"], [("a", "a.jpg", ""), ("a.2", "a.2.jpg", "a.2.txt")], {}),
        (["a.1.jpg", "a.1.txt", "a.2.jpg"], [("a.1", "a.1.jpg", "a.1.txt"), ("a.2", "a.2.jpg", "")], {}),
        (
            ["a.2.mask.png", "a.2.jpg", "a.2.txt", "a.jpg", "a.txt"],
            [("a.2", "a.2.jpg", "a.2.txt"), ("a", "a.jpg", "a.txt")],
            {"images": 1},
        ),
        (["a.front.jpg", "a.back.jpg", "a.caption.txt"], [("a", "a.front.jpg", "a.caption.txt")], {"images": 1}),
        (["a.image.jpg", "a.image.json", "a.caption.txt"], [("a", "a.image.jpg", "a.caption.txt")], {}),
        (["a.1.jpg", "a.2.jpg"], [("a.1", "a.1.jpg", ""), ("a.2", "a.2.jpg", "")], {}),
        (["a.jpg", "a.cls", "a.npy", "README"], [("a", "a.jpg", "")], {"other files": 3}),
        (["a.x.heic", "a.x.txt", "a.x.svg"], [("a.x", "a.x.heic", "a.x.txt")], {"images": 1}),
        (["a.jpg", "b.cls", "a.txt"], [("a", "a.jpg", ""), ("a", None, "a.txt")], {"other files": 1}),
    ],
)
def test_names_and_their_pairs(tmp_path, caplog, names, expected, passed_over):
    with caplog.at_level(logging.INFO):
        pairs = read(tmp_path, [(name, b"{}" if name.endswith("json") else name.encode()) for name in names])
    assert [(pair.key, pair.image and pair.image.decode(), pair.text) for pair in pairs] == expected
    said = [f"{count} {what}" for what, count in passed_over.items()]
    assert all(each in caplog.text for each in said)
    assert bool(said) == ("No pair of" in caplog.text)
    located = [key for key, _, _ in locate_images(str(tmp_path / "x.tar"))]
    assert located == [pair.key for pair in pairs if pair.image and pair.status is not PairStatus.DUPLICATE_KEY]


def check_sample(sample: dict[str, bytes], pairs: list[Pair]) -> None:
    """Check the rows made of a sample of webdataset, whose members all have contents of their own."""
    key = sample["__key__"]
    members = {name: data for name, data in sample.items() if not name.startswith("__")}
    images = {name: data for name, data in members.items() if name.split(".")[-1] in IMAGES}
    texts = {name: data for name, data in members.items() if name.split(".")[-1] == "txt"}
    whole = {name.rpartition(".")[0] for name in images} & {name.rpartition(".")[0] for name in texts}
    if images and texts and whole <= {""}:  # the rule is webdataset's
        assert [pair.key for pair in pairs] == [key]
        assert pairs[0].image in images.values()
        assert pairs[0].text.encode() in texts.values()
    for stem in whole:
        pair = next(pair for pair in pairs if pair.key == (f"{key}.{stem}" if stem else key))
        assert pair.image in {data for name, data in images.items() if name.rpartition(".")[0] == stem}
        assert pair.text.encode() == texts[f"{stem}.txt".removeprefix(".")]
    assert len([pair for pair in pairs if pair.image and pair.text]) == max(len(whole), bool(images and texts))


def check_against_webdataset(samples: list[dict[str, bytes]], pairs: list[Pair], grouper: Grouper) -> None:
    rest = list(pairs)
    for sample in samples:
        names = [name for name in sample if name.split(".")[-1] in {*IMAGES, "txt"}]
        count = (
            next(
                (place for place, pair in enumerate(rest) if split_name(f"{pair.key}.x")[0] != sample["__key__"]),
                len(rest),
            )
            if names
            else 0
        )
        check_sample(sample, rest[:count])
        del rest[:count]
    assert not rest
    images = [data for sample in samples for name, data in sample.items() if name.split(".")[-1] in IMAGES]
    in_rows = [pair.image for pair in pairs if pair.image is not None]
    assert set(in_rows) <= set(images)
    assert len(in_rows) == len(set(in_rows))
    assert len(in_rows) + grouper.passed_over["images"] == len(images)


PARTS = st.sampled_from(["", "1", "2", "2.mask", "image", "caption", "10"])
KEYS = st.sampled_from(["a", "b", "d/a", "x.y/a", "é"])
NAMES = st.builds(
    lambda key, stem, last: f"{key}.{stem}.{last}".replace("..", "."),
    KEYS,
    PARTS,
    st.sampled_from(["jpg", "png", "txt", "cls"]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(NAMES, unique=True, max_size=30), st.booleans())
def test_samples_are_those_of_the_webdataset_library(tmp_path_factory, names, ordered):
    names = sorted(names) if ordered else sorted(names, key=lambda name: split_name(name)[0])
    members = [(name, name.encode()) for name in names]
    files = [{**each, "__url__": ""} for each in tar_file_iterator(io.BytesIO(tar_bytes(members)))]
    pairs = read(tmp_path_factory.getbasetemp(), members)
    again, grouper = grouped(members)
    assert pairs == again
    check_against_webdataset(list(group_by_keys(files)), pairs, grouper)


class Growing(RuleBasedStateMachine):
    """A shard that grows member by member: after each, the rows are those of webdataset's samples."""

    def __init__(self) -> None:
        super().__init__()
        self.members: list[tuple[str, bytes]] = []
        self.key = "k0"

    def _add(self, *extensions: str) -> None:
        for extension in extensions:
            name = f"{self.key}.{extension}"
            if name not in dict(self.members):
                self.members.append((name, name.encode()))

    @rule()
    def next_key(self) -> None:
        self.key = f"k{int(self.key[1:]) + 1}"

    @rule(number=st.integers(0, 12))
    def add_numbered_photograph(self, number: int) -> None:
        self._add(f"{number}.jpg", f"{number}.txt")

    @rule()
    def add_plain_sample(self) -> None:
        self._add("jpg", "json", "txt")

    @rule()
    def add_sample_of_named_parts(self) -> None:
        self._add("image.jpg", "caption.txt")

    @rule(stem=PARTS, last=st.sampled_from(["jpg", "png", "txt", "cls"]))
    def add_any(self, stem: str, last: str) -> None:
        self._add(f"{stem}.{last}".removeprefix("."))

    @invariant()
    def rows_are_those_of_webdataset(self) -> None:
        files = [{"fname": name, "data": data, "__url__": ""} for name, data in self.members]
        check_against_webdataset(list(group_by_keys(files)), *grouped(self.members))


TestGrowing = Growing.TestCase
TestGrowing.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

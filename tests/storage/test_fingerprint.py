from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.errors import OpenMofiError
from openmofi.storage import file_fingerprint, fingerprint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@dataclass(frozen=True)
class Settings:
    size: int
    where: Path


@settings(deadline=None)
@given(JSON, JSON)
def test_equal_exactly_when_the_values_are(one, other):
    # JSON's texts are compared, since Python's 1 == 1.0 == True.
    same = fingerprint(one) == fingerprint(other)
    assert same == (repr(_sorted(one)) == repr(_sorted(other)))


def _sorted(value):
    if isinstance(value, dict):
        return [(key, _sorted(inner)) for key, inner in sorted(value.items())] + ["dict"]
    return [_sorted(inner) for inner in value] if isinstance(value, list) else value


def test_dataclasses_paths_sets_and_bytes_that_are_no_utf8():
    assert fingerprint(Settings(3, Path("a"))) == fingerprint({"where": "a", "size": 3})
    assert fingerprint(Settings(3, Path("a"))) != fingerprint(Settings(4, Path("a")))
    assert fingerprint({"b", "a"}) == fingerprint(["a", "b"])
    assert len(fingerprint(os.fsdecode(b"\xff.tar"))) == 16
    with pytest.raises(TypeError):
        fingerprint(object())


@pytest.mark.parametrize("size", [0, 1, 1000, (1 << 20) + 5, 3 << 20])
def test_a_file_tells_each_of_its_bytes(tmp_path, size):
    content = bytearray(os.urandom(size))
    place = tmp_path / "x"
    place.write_bytes(content)
    first = file_fingerprint(place)
    assert file_fingerprint(place) == first
    place.write_bytes(content + b"x")
    assert file_fingerprint(place) != first
    for position in {0, size // 3, size // 2, size - 1} if size else set():
        changed = bytearray(content)
        changed[position] ^= 1
        place.write_bytes(changed)
        assert file_fingerprint(place) != first


def test_a_folder_tells_its_files_and_tables(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/a.jpg").write_bytes(b"abc")
    (tmp_path / "metadata.csv").write_text("file_name,text\ninner/a.jpg,cat\n")
    first = file_fingerprint(tmp_path)
    (tmp_path / ".hidden").write_text("x")
    assert file_fingerprint(tmp_path) == first
    (tmp_path / "metadata.csv").write_text("file_name,text\ninner/a.jpg,dog\n")
    second = file_fingerprint(tmp_path)
    assert second != first
    (tmp_path / "inner/a.jpg").rename(tmp_path / "inner/b.jpg")
    assert file_fingerprint(tmp_path) != second


def test_a_corrected_caption_in_the_middle_is_seen_whatever_the_times_say(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "home"))
    place, before = tmp_path / "x.tar", b"the cat".center(6 << 20, b"x")
    place.write_bytes(before)
    os.utime(place, (1000, 1000))
    settle(monkeypatch, place)
    first = file_fingerprint(place)
    monkeypatch.setattr("openmofi.storage.shards.content_fingerprint", lambda _: pytest.fail("read again"))
    assert file_fingerprint(place) == first
    monkeypatch.undo()
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "home"))
    place.write_bytes(before.replace(b"cat", b"dog"))
    os.utime(place, (1000, 1000))
    settle(monkeypatch, place)
    assert file_fingerprint(place) != first


def settle(monkeypatch, place):
    """Let the file's last change be some time ago, so that its fingerprint is kept."""
    monkeypatch.setattr("time.time", lambda: place.stat().st_ctime + 10)


def test_a_corrected_caption_beside_an_image_is_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "home"))
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"x" * (2 << 20))
    caption = folder / "inner" / "a.txt"
    prints = []
    for text in ("cat", "dog", "cat"):
        caption.write_text(text)
        settle(monkeypatch, caption)
        prints += [file_fingerprint(folder), file_fingerprint(folder)]
    assert prints == [prints[0], prints[0], prints[2], prints[2], prints[0], prints[0]]
    assert prints[0] != prints[2]


def test_a_folder_with_pipes_and_links_to_nothing_has_a_fingerprint_and_a_pipe_has_none(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("nothing")
    (tmp_path / "c.txt").write_text("cat")
    first = file_fingerprint(tmp_path)
    (tmp_path / "c.txt").write_text("dog")
    assert file_fingerprint(tmp_path) != first
    with pytest.raises(OpenMofiError, match="not a regular file"):
        file_fingerprint(tmp_path / "a.jpg")


def test_what_cannot_be_read_is_one_sentence(tmp_path):
    with pytest.raises(OpenMofiError, match="cannot be read"):
        file_fingerprint(tmp_path / "absent")

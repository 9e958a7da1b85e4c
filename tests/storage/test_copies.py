"""Local copies of objects that never change: fetched once, bounded, harmless to lose."""

import os

import pytest

from openmofi.storage import copies
from openmofi.storage.copies import copy_of, copy_path, keep_copy, never_changes

NAMED = "s3://data/links/0123456789abcdef/00000-x.parquet"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(copies, "_written", 0)
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("address", "never"),
    [
        (NAMED, True),
        ("s3://data/repeats/0123456789abcdef.parquet", True),
        ("s3://d/x/0123456789abcdef/0.npy", True),
        ("s3://data/labels/00000.parquet", False),
        ("s3://data/out/calibration.json", False),
        ("s3://data/repeats/0123456789abcdef.parquet.parts/0.arrow", False),
        ("s3://data/0123456789abcdef/deeper/x.parquet", False),
        ("s3://data/0123456789ABCDEF/x.parquet", False),
        ("s3://data/features/0123456789abcdef/x.unread.json", False),
    ],
)
def test_what_is_named_by_its_content(address, never):
    assert never_changes(address) is never


def test_it_is_fetched_once(tmp_path):
    fetched = []

    def fetch(target):
        fetched.append(target)
        with open(target, "wb") as file:
            file.write(b"content")

    assert copy_of(NAMED, fetch).read_bytes() == copy_of(NAMED, fetch).read_bytes() == b"content"
    assert len(fetched) == 1
    copy_path(NAMED).unlink()
    assert copy_of(NAMED, fetch).read_bytes() == b"content"


def test_a_fetch_that_breaks_off_leaves_nothing(home):
    def fetch(target):
        with open(target, "wb") as file:
            file.write(b"half")
        raise OSError("broken off")

    with pytest.raises(OSError, match="broken off"):
        copy_of(NAMED, fetch)
    assert not list((home / "copies").iterdir())


def test_what_was_used_longest_ago_goes(home, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_COPIES_GIB", str(2500 / 2**30))
    monkeypatch.setattr(copies, "_LOOKED_AT", 1)
    addresses = [NAMED.replace("00000", f"{number:05d}") for number in range(4)]
    for age, address in enumerate(addresses):
        written = tmp_path / "written"
        written.write_bytes(b"x" * 1000)
        keep_copy(address, written)
        assert not written.exists()
        os.utime(copy_path(address), (1000 + age, 1000 + age))
        if age == 1:
            copy_of(addresses[0], pytest.fail)  # used just now
    assert [copy_path(address).exists() for address in addresses] == [True, False, False, True]


def test_without_room_there_is_no_copy_and_no_error(home, tmp_path):
    home.mkdir()
    (home / "copies").write_text("a file where a folder is needed")
    (tmp_path / "written").write_bytes(b"x")
    keep_copy(NAMED, tmp_path / "written")
    assert not copy_path(NAMED).exists()

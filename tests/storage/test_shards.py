from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path, PurePosixPath

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.errors import OpenMofiError, UsageError
from openmofi.storage import Shard, expand_shards
from openmofi.storage.atomic import _TEMPORARY
from openmofi.storage.shards import expand_braces


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found(*patterns: object) -> list[str]:
    return [shard.name for shard in expand_shards([str(pattern) for pattern in patterns])]


WORD = st.text("abc-_.", min_size=1, max_size=4)
RANGE = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 3)).map(
    lambda t: "{" + "..".join(str(n).zfill(t[2]) for n in sorted(t[:2])) + "}"
)
CHOICE = st.lists(WORD, min_size=2, max_size=3).map(lambda words: "{" + ",".join(words) + "}")
NESTED = st.tuples(WORD, CHOICE).map(lambda t: "{" + t[0] + "," + t[1] + "}")


@pytest.mark.skipif(shutil.which("bash") is None, reason="the oracle is bash")
@settings(max_examples=60, deadline=None)
@given(st.lists(WORD | RANGE | CHOICE | NESTED, min_size=1, max_size=4).map("".join))
def test_braces_expand_as_in_bash(pattern):
    shell = subprocess.run(["bash", "-fc", f"printf '%s\\n' {pattern}"], capture_output=True, text=True, check=True)
    assert sorted(expand_braces(pattern)) == sorted(set(shell.stdout.split("\n")[:-1]))


@settings(deadline=None)
@given(st.text("ab{},.0123", max_size=12))
def test_any_braces_give_names_or_a_usage_error(pattern):
    try:
        names = expand_braces(pattern)
    except UsageError:
        names = []
    assert names or "{" in pattern or "}" in pattern
    assert len(set(names)) == len(names)
    assert not any("{" in name or "}" in name for name in names)


@pytest.mark.parametrize("pattern", ["a{1..", "a}b", "{5..1}.tar", "{0..99999999999}.tar", "{0..9999}{0..9999}.tar"])
def test_wrong_braces_are_usage_errors(pattern):
    with pytest.raises(UsageError):
        expand_braces(pattern)


def test_a_folder_stands_for_its_shards_without_logs_and_half_written_files(tmp_path):
    touch(
        tmp_path,
        "00000.tar",
        "00000.parquet",
        "00000_stats.json",
        "00001.tar.gz",
        "extra.parquet",
        f"{_TEMPORARY}0-1-2.parquet",
        ".hidden.tar",
        "readme.txt",
    )
    assert found(tmp_path) == ["00000", "00001", "extra"]
    assert found(tmp_path / "*") == ["00000", "00001", "extra"]
    assert found(tmp_path / "*.parquet") == ["00000", "extra"]
    assert found(tmp_path / "0000?.tar") == ["00000"]


def test_a_folder_of_images_is_one_shard_and_an_empty_one_is_none(tmp_path):
    touch(tmp_path, "photos/a.jpg", "photos/metadata.csv")
    assert [(shard.path, shard.name) for shard in expand_shards([str(tmp_path / "photos")])] == [
        (str(tmp_path / "photos"), "photos")
    ]
    assert found(tmp_path / "photos/metadata.csv") == ["metadata"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="matches nothing"):
        found(tmp_path / "empty")


def test_a_glob_of_folders_goes_into_them(tmp_path):
    touch(tmp_path, "en/0.tar", "de/0.tar", "de/1.tar")
    assert sorted(found(tmp_path / "*")) == ["1", "de-0", "en-0"]


def test_each_shard_comes_once_in_sorted_order(tmp_path):
    touch(tmp_path, "b.tar", "a.tar", "c.tar")
    shards = expand_shards([str(tmp_path / "c.tar"), str(tmp_path), str(tmp_path / "{a,b}.tar")])
    assert [shard.name for shard in shards] == ["a", "b", "c"]


def test_every_named_shard_must_be_there(tmp_path):
    touch(tmp_path, "0.tar", "2.tar")
    with pytest.raises(UsageError, match=r"1\.tar matches nothing"):
        found(tmp_path / "{0..2}.tar")
    for absent in ("*.zip", "nothing", "nothing/*.tar"):
        with pytest.raises(UsageError, match="matches nothing"):
            found(tmp_path / absent)


def test_names_that_look_like_patterns_are_taken_as_they_are(tmp_path):
    touch(tmp_path, "a{b}.tar", "x[1].tar", "x1.tar")
    assert found(tmp_path / "a{b}.tar") == ["a{b}"]
    assert found(tmp_path / "x[1].tar") == ["x[1]"]


def test_twins_get_the_name_of_their_folder_or_are_refused(tmp_path):
    touch(tmp_path, "en/0.tar", "de/0.tar", "x/en/0.tar")
    assert found(tmp_path / "en", tmp_path / "de") == ["de-0", "en-0"]
    with pytest.raises(UsageError, match="both named 'en-0'"):
        found(tmp_path / "en", tmp_path / "x/en", tmp_path / "de")


def test_urls_stay_urls(tmp_path):
    for name in ("1.tar", "0.tar"):
        with fsspec.open(f"memory://listed/{name}", "wb") as handle:
            handle.write(b"x")
    shards = expand_shards(["memory://listed/*.tar"])
    assert [shard.name for shard in shards] == ["0", "1"]
    for shard in shards:
        assert fsspec.open(shard.path).open().read() == b"x"


def test_a_name_that_is_no_utf8(tmp_path):
    place = os.fsencode(tmp_path) + b"/caf\xe9.tar"
    Path(os.fsdecode(place)).write_bytes(b"x")
    assert found(tmp_path) == [os.fsdecode(b"caf\xe9")]


COMPONENT = st.sampled_from(["", ".", "..", "a", "/", "\\", "\0", "C:"])


@given(st.lists(COMPONENT, max_size=5).map("".join) | st.text(max_size=8))
@settings(deadline=None)
def test_the_name_of_a_shard_stays_in_the_folder_of_its_outputs(name):
    if name and PurePosixPath(name).name == name != ".." and not set(name) & {"\0", "\\"}:
        assert Path(os.path.normpath(f"/out/{Shard('x.tar', name).name}")).parent == Path("/out")
    else:
        with pytest.raises(OpenMofiError, match="not the name of a file"):
            Shard("x.tar", name)

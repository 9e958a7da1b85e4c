from __future__ import annotations

import os
from pathlib import Path

import pytest

from openmofi.errors import OpenMofiError
from studies.debian import COMPONENTS, ICONS, fetch_appstream, fetch_packages


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the PATH for stand-ins of Debian's tools, which may write to `$LOG`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin:/usr/bin")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return folder


def write_tool(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_without_debians_tools_a_sentence_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(OpenMofiError, match=r"Debian packages one and two need apt-get and dpkg, and not all .* PATH"):
        fetch_packages("both", ["one", "two"], tmp_path)
    with pytest.raises(OpenMofiError, match=r"AppStream's lists .* need apt-get, and not all"):
        fetch_appstream(tmp_path)
    assert not list(tmp_path.iterdir())


def test_packages_are_fetched_once_and_a_failure_leaves_nothing(tmp_path: Path, tools: Path) -> None:
    write_tool(tools, "apt-get", 'echo "$2" >> "$LOG"; echo > "$2_1_all.deb"')
    write_tool(tools, "dpkg", 'mkdir -p "$3/usr"; echo > "$3/usr/$2"')
    for _ in range(2):
        folder = fetch_packages("both", ["one", "two"], tmp_path / "home")
        assert sorted(path.name for path in folder.glob("usr/*")) == ["one_1_all.deb", "two_1_all.deb"]
    assert (tmp_path / "log").read_text().split() == ["one", "two"]
    write_tool(tools, "apt-get", "echo W: hm >&2; echo E: no such package >&2; exit 100")
    with pytest.raises(OpenMofiError, match="apt-get download one failed: E: no such package"):
        fetch_packages("both", ["one", "two"], tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere/debian").iterdir())


UPDATE = """
lists=$(sed -n 's/^Dir::State::lists "\\(.*\\)";/\\1/p' "$2")
for name in debian_stable debian_stable-updates; do
  for section in main contrib; do
    echo "$name $section" > "$lists/${name}_${section}_dep11_Components-riscv64.yml.gz"
    echo "$name $section" > "$lists/${name}_${section}_dep11_icons-128x128.tar.gz"
  done
done
echo and much more >> "$lists/debian_stable_main_dep11_Components-riscv64.yml.gz"
echo and much more >> "$lists/debian_stable_main_dep11_icons-128x128.tar.gz"
echo "$3" >> "$LOG"
"""


def test_appstream_is_that_of_the_release_and_apts_lists_stay_as_they_are(tmp_path: Path, tools: Path) -> None:
    write_tool(tools, "apt-get", UPDATE)
    for _ in range(2):
        folder = fetch_appstream(tmp_path / "home")
        assert {path.name: path.read_text() for path in folder.iterdir()} == {
            COMPONENTS: "debian_stable main\nand much more\n",
            ICONS: "debian_stable main\nand much more\n",
        }
    assert (tmp_path / "log").read_text().split() == ["update"]
    assert [path.name for path in (tmp_path / "home/debian").iterdir()] == ["appstream"]


def test_an_archive_without_appstream_is_a_sentence(tmp_path: Path, tools: Path) -> None:
    write_tool(tools, "apt-get", "true")
    with pytest.raises(OpenMofiError, match=r"no AppStream file components\.yml\.gz"):
        fetch_appstream(tmp_path / "home")
    assert not list((tmp_path / "home/debian").iterdir())

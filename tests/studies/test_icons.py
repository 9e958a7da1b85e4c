from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from openmofi.errors import OpenMofiError
from studies.debian import COMPONENTS, ICONS
from studies.icons import read_icons


def component(name: str, **more: Any) -> dict[str, Any]:
    icon = {"cached": [{"name": f"{name}.png", "width": 64}, {"name": f"{name}.png", "width": 128}]}
    return {
        "Type": "desktop-application",
        "ID": f"org.example.{name}",
        "Name": {"C": name, "de": "anders"},
        "Summary": {"C": f"What {name}\n  does"},
        "Icon": icon,
    } | more


def write_appstream(folder: Path, components: list[Any], icons: dict[str, bytes]) -> None:
    with gzip.open(folder / COMPONENTS, "wt", encoding="utf-8") as file:
        yaml.safe_dump_all([{"File": "DEP-11", "Version": "0.14"}, *components], file, allow_unicode=True)
    with tarfile.open(folder / ICONS, "w:gz") as tar:
        for name, content in icons.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_texts_are_name_summary_and_keywords_and_each_icon_comes_once(tmp_path: Path) -> None:
    components = [
        component("chess", Keywords={"C": ["game", "board"], "de": ["Spiel"]}),
        component("copy"),
        component("größe", Type="desktop-app", Keywords={"de": ["x"]}),
        component("library", Type="generic"),
        component("no-icon"),
        component("small", Icon={"cached": [{"name": "chess.png", "width": 64}]}),
        component("stock", Icon={"stock": "chess"}),
        component("unnamed", Name={"de": "x"}),
        component("silent", Summary=None),
        None,
    ]
    icons = {"a/chess.png": b"1", "copy.png": b"1", "größe.png": b"2", "unnamed.png": b"3", "silent.png": b"4"}
    write_appstream(tmp_path, components, icons | {"library.png": b"5"})
    pairs = read_icons(tmp_path)
    assert {(pair.key, pair.text, pair.image()) for pair in pairs} == {
        ("org-example-chess", "chess. What chess does. game, board", b"1"),
        ("org-example-gr-e", "größe. What größe does", b"2"),
    }
    assert [pair.key for pair in read_icons(tmp_path)] == [pair.key for pair in pairs]


def test_archives_are_data(tmp_path: Path) -> None:
    """A member is not written to where its name says, and YAML makes no objects."""
    outside = tmp_path / "outside.png"
    folder = tmp_path / "appstream"
    folder.mkdir()
    write_appstream(folder, [component("outside")], {f"../{outside.name}": b"x", str(outside): b"y"})
    assert [pair.image() for pair in read_icons(folder)] == [b"y"]
    assert not outside.exists()
    with gzip.open(folder / COMPONENTS, "wt") as file:
        file.write(f"!!python/object/apply:pathlib.Path.touch\n- !!python/object/apply:pathlib.Path [{outside}]\n")
    with pytest.raises(OpenMofiError, match="could not determine a constructor"):
        read_icons(folder)
    assert not outside.exists()


@pytest.mark.parametrize("damaged", [COMPONENTS, ICONS])
def test_a_file_that_is_cut_off_is_a_sentence(damaged: str, tmp_path: Path) -> None:
    write_appstream(tmp_path, [component(f"n{number}") for number in range(50)], {"n1.png": bytes(range(256)) * 64})
    (tmp_path / damaged).write_bytes((tmp_path / damaged).read_bytes()[:100])
    with pytest.raises(OpenMofiError, match="cannot be read") as error:
        read_icons(tmp_path)
    assert "fetched again" in error.value.hint


@pytest.mark.parametrize("change", [{"ID": None}, {"Name": "plain"}, {"Icon": {"cached": ["x"]}}])
def test_another_layout_is_a_sentence(change: dict[str, Any], tmp_path: Path) -> None:
    write_appstream(tmp_path, [component("chess") | change], {"chess.png": b"1"})
    with pytest.raises(OpenMofiError, match="cannot be read"):
        read_icons(tmp_path)

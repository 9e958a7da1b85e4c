from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError
from openmofi.pairs import read_pairs
from openmofi.storage import expand_shards
from studies.openclipart import Drawing, fetch_openclipart, read_drawings, require_known, write_pairs

METADATA = """<svg><title>ignored</title><metadata><dc:title></dc:title><dc:title>A &amp;  cat</dc:title>
<dc:description>It sits
on a mat </dc:description><rdf:Bag><rdf:li>animal</rdf:li><rdf:li> </rdf:li><rdf:li>unsorted</rdf:li>
<rdf:li>hash(0x8a091c4)</rdf:li><rdf:li>HASH(0x1)</rdf:li><rdf:li xml:lang="en">pet</rdf:li>
</rdf:Bag></metadata></svg>"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three drawings with both files, one without an SVG, one without a PNG."""
    svgs = {
        "animals/cat.v1": METADATA,
        "animals/no_text": "<svg/>",
        "signs/stop": "<dc:title>Stop</dc:title>\xff",
        "signs/svg_only": "<svg/>",
    }
    for name, text in svgs.items():
        path = tmp_path / "svg" / f"{name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1"))
    for name in ("animals/cat.v1", "animals/no_text", "signs/stop", "signs/png_only"):
        path = tmp_path / "png" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + name.encode())
    return tmp_path


def test_a_text_is_title_description_and_keywords(source: Path) -> None:
    assert {drawing.name: drawing.text for drawing in read_drawings(source)} == {
        "animals/cat.v1": "A & cat. It sits on a mat. animal, pet",
        "animals/no_text": "",
        "signs/stop": "Stop",
    }


def test_shards_have_the_same_bytes_each_time_and_are_not_written_again(source: Path, tmp_path: Path) -> None:
    drawings = read_drawings(source)
    for folder in ("one", "two"):
        write_pairs(drawings, tmp_path / folder, Quiet())
    shard = tmp_path / "one/00000.tar"
    assert shard.read_bytes() == (tmp_path / "two/00000.tar").read_bytes()
    with tarfile.open(shard) as archive:
        assert archive.getnames()[:4] == ["000000000.png", "000000000.txt", "000000000.json", "000000001.png"]
    pairs = list(read_pairs(expand_shards([str(shard)])[0]))
    assert [(pair.key, pair.text) for pair in pairs] == [
        (f"00000{row:04d}", drawing.text) for row, drawing in enumerate(drawings)
    ]
    before = shard.stat().st_mtime_ns
    write_pairs(drawings, tmp_path / "one", Quiet())
    assert shard.stat().st_mtime_ns == before


def test_a_shard_has_500_pairs(source: Path, tmp_path: Path) -> None:
    write_pairs(
        [Drawing(str(number), source / "png/signs/stop.png", "") for number in range(501)], tmp_path / "out", Quiet()
    )
    with tarfile.open(tmp_path / "out/00001.tar") as archive:
        assert json.loads(archive.extractfile("000010000.json").read()) == {
            "key": "000010000",
            "caption": "",
            "source": "500",
        }


def test_other_drawings_than_those_judged_are_refused(source: Path) -> None:
    with pytest.raises(OpenMofiError, match="3 drawings of these packages are not those that were judged"):
        require_known(read_drawings(source))


def test_without_debians_tools_a_sentence_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(OpenMofiError, match="comes as the Debian packages openclipart-svg and openclipart-png"):
        fetch_openclipart(Quiet(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_packages_are_fetched_once_and_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = {"apt-get": 'echo "$2" >> "$LOG"; echo > "$2_1_all.deb"', "dpkg": 'mkdir -p "$3/usr/share/openclipart"'}
    for name, script in tools.items():
        tool = tmp_path / "bin" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/bin:/usr/bin")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    for _ in range(2):
        assert fetch_openclipart(Quiet(), tmp_path / "home").is_dir()
    assert (tmp_path / "log").read_text().split() == ["openclipart-svg", "openclipart-png"]
    (tmp_path / "bin/apt-get").write_text("#!/bin/sh\necho W: hm >&2\necho E: no such package >&2\nexit 100\n")
    with pytest.raises(OpenMofiError, match="apt-get download openclipart-svg failed: E: no such package"):
        fetch_openclipart(Quiet(), tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere/debian").iterdir())

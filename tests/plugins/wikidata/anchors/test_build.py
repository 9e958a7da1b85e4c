"""From dumps to tables: counts that were worked out by hand, packings, orders, languages, bad inputs."""

import bz2
import random
import re

import pyarrow.parquet as pq
import pytest
from page_dumps import PACKED, export, multistream, page, write
from typer.testing import CliRunner

from openmofi.cli.kb import app
from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.wikidata import anchors as build
from openmofi.plugins.wikidata.anchor_tables import Anchors, names_tables, probabilities_path
from openmofi.plugins.wikidata.anchors import AnchorSettings, build_anchors

PAGES = [
    page("Crane", "'''Crane''' may be:\n* [[Crane (bird)]], a [[bird]]\n* [[Tower crane]]\n* [[Lifter]]\n{{disambig}}"),
    page("Crane (bird)", "A '''crane''' is a [[bird]]. The crane flies. <!-- [[Elbe]] -->"),
    page("Tower crane", "A [[Crane (machine)|crane]] is no [[Crane (bird)|crane]] and no [[crane]]."),
    page(
        "Hamburg", "{{Infobox|river=[[Elbe]]}}[[File:A.jpg|thumb|[[tower crane]]s]] by the [[Elbe (river)|Elbe]]. Elbe!"
    ),
    page("Elbe", "A river. [[Round]] [[Help:Me]]"),
    page("Lifter", redirect="Crane (machine)"),
    page("Crane (machine)", redirect="Tower crane"),
    page("Elbe (river)", redirect="Elbe"),
    page("Round", redirect="And round"),
    page("And round", redirect="Round"),
    page("Cranes", redirect="Crane"),
    page("Out", redirect="Help:Out"),
    page("Talk:Elbe", "[[Hamburg]]", ns=1),
]
# name, title: anchors, redirects, disambiguation, titles
NAMES = {
    ("Crane", "Crane (bird)"): (0, 0, 1, 1),
    ("Crane", "Tower crane"): (0, 1, 2, 0),  # the redirect Crane (machine); the entries Tower crane and Lifter
    ("Elbe", "Elbe"): (2, 1, 0, 1),  # in the infobox, over the redirect Elbe (river)
    ("Hamburg", "Hamburg"): (0, 0, 0, 1),
    ("Lifter", "Tower crane"): (0, 1, 0, 0),
    ("Tower crane", "Tower crane"): (0, 0, 0, 1),
    ("bird", "Bird"): (1, 0, 0, 0),
    ("crane", "Crane (bird)"): (1, 0, 0, 0),
    ("crane", "Tower crane"): (1, 0, 0, 0),
    ("tower cranes", "Tower crane"): (1, 0, 0, 0),
}
# "crane": Crane (bird) has two, Tower crane three.
PROBABILITIES = {"Crane": (0, 0, None), "Elbe": (2, 3, pytest.approx(2 / 3)), "crane": (2, 5, pytest.approx(0.4))}


def built(dumps, out, **settings):
    build_anchors(dumps, out, AnchorSettings(**settings))
    return Anchors.open(out)


def test_counts_by_hand(tmp_path):
    anchors = built([write(tmp_path / "a.xml.bz2", PAGES)], tmp_path / "out/a.parquet")
    columns = ("anchors", "redirects", "disambiguation", "titles")
    assert {
        (row["name"], row["title"]): tuple(row[column] for column in columns) for row in anchors.names.to_pylist()
    } == NAMES
    assert {
        row["name"]: (row["anchors"], row["occurrences"], row["link_probability"])
        for row in anchors.probabilities.to_pylist()
    } == PROBABILITIES
    assert anchors.languages() == ["en"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.link-probability.parquet", "a.parquet"]


def test_packings_parts_orders_and_bounds_give_the_same_bytes(tmp_path):
    def written(dumps, **settings):
        build_anchors(dumps, tmp_path / "x.parquet", AnchorSettings(**settings))
        return (tmp_path / "x.parquet").read_bytes(), probabilities_path(tmp_path / "x.parquet").read_bytes()

    whole = written([write(tmp_path / "whole.xml", PAGES)])
    for suffix in PACKED:
        assert written([write(tmp_path / f"packed{suffix}", PAGES)], held=2) == whole, suffix
    shuffled = random.Random(0).sample(PAGES, len(PAGES))
    parts = [write(tmp_path / f"part{n}.xml.gz", shuffled[n::3]) for n in range(3)]
    assert written(parts) == written(parts[::-1], held=1) == whole


def test_processes_give_the_bytes_of_one_and_name_the_line_that_is_damaged(tmp_path, monkeypatch):
    german = [page("Kranich", "Ein [[vogel]]s"), page("Kran", "* [[Kranich]]\n{{Begriffsklärung}}")]
    dumps = [write(tmp_path / "en.xml.bz2", PAGES), write(tmp_path / "de.xml", german, "de")]
    damaged = export(PAGES).replace(b"a [[bird]]. The", b"a [[bird]].\n</b> The")
    (tmp_path / "damaged.xml").write_bytes(damaged)
    outcomes, lines = {}, {}
    for name, block, workers in (("one", 1 << 20, 1), ("blocks", 300, 1), ("processes", 300, 2)):
        monkeypatch.setattr(build, "BLOCK", block)
        out = tmp_path / name / "x.parquet"
        counts = build_anchors(dumps, out, workers=workers)
        outcomes[name] = (counts, out.read_bytes(), probabilities_path(out).read_bytes())
        if workers == 1:
            with pytest.raises(OpenMofiError, match=r"damaged\.xml, line (\d+): is damaged XML") as caught:
                build_anchors([tmp_path / "damaged.xml"], tmp_path / "y.parquet")
            lines[name] = caught.value.message
    assert outcomes["one"] == outcomes["blocks"] == outcomes["processes"]
    assert lines["one"] == lines["blocks"]
    line = int(re.search(r"line (\d+)", lines["one"])[1])
    assert b"</b>" in damaged.split(b"\n")[line - 1]
    assert sorted(path.name for path in (tmp_path / "processes").iterdir()) == [
        "x.link-probability.parquet",
        "x.parquet",
    ]


def test_languages_stay_apart(tmp_path):
    german = [
        page("Kranich", "Ein [[vogel]]s und [[Kran (Vogel)|crane]] [[Datei:A.jpg]]"),
        page("Kran", "* [[Kranich]]\n{{Begriffsklärung}}"),
        page("Kran (Vogel)", redirect="Kranich"),
    ]
    dumps = [write(tmp_path / "en.xml", PAGES), write(tmp_path / "de.xml", german, "de")]
    both = built(dumps, tmp_path / "both.parquet")
    assert both.languages() == ["de", "en"]
    assert both.names.to_pylist()[-len(NAMES) :] == built(dumps[:1], tmp_path / "one.parquet").names.to_pylist()
    assert [(row["name"], row["title"]) for row in both.names.to_pylist() if row["language"] == "de"] == [
        ("Kran", "Kranich"),
        ("Kranich", "Kranich"),
        ("crane", "Kranich"),
        ("vogels", "Vogel"),
    ]
    with pytest.raises(UsageError, match="2 languages: de, en"):
        names_tables(both, {})
    assert names_tables(both, {"Kranich": "Q25365"}, language="de")[0].num_rows == 3


def test_the_database_tells_the_language(tmp_path):
    dump = write(tmp_path / "a.xml", PAGES, dbname="simplewiki")
    assert built([dump], tmp_path / "a.parquet").languages() == ["simple"]


def test_tables_for_a_knowledge_base(tmp_path):
    anchors = built([write(tmp_path / "a.xml", PAGES)], tmp_path / "a.parquet")
    names, surfaces = names_tables(anchors, {"Crane (bird)": "Q1", "Tower crane": "Q2", "Nowhere": "Q9"})
    counts = {(row["name"], row["entity"]): row["count"] for row in names.to_pylist()}
    assert counts[("crane", "Q1")] == counts[("crane", "Q2")] == 1
    assert counts[("Crane", "Q1")] == pytest.approx(1.1)
    assert counts[("Crane", "Q2")] == pytest.approx(1.2)
    assert ("Elbe", "Q9") not in counts
    assert len(counts) == 7
    # One key, one probability; Elbe is no name of an entity here.
    assert surfaces["name"].to_pylist() == ["Crane", "crane"]
    assert surfaces["link_probability"].to_pylist() == pytest.approx([0.4, 0.4])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "is a web page"),
        (b"-- MySQL dump 10.19\nCREATE TABLE page", "is an SQL dump"),
        (b"PK\x03\x04", "is no XML"),
        (b"<feed><title>x</title></feed>", "it holds <feed>, not <mediawiki>"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><mediawiki/>', "document type"),
        (export(PAGES)[:-30], "is cut off: the export has no end"),
        (export(PAGES).replace(b"</title>", b"</titel>", 1), r"line \d+: is damaged XML"),
        (bz2.compress(export(PAGES))[:-20], "is cut off: its bzip2 data does not end"),
        (multistream(export(PAGES))[:-20], "is cut off: its bzip2 data does not end"),
        (PACKED[".xml.gz"](export(PAGES))[:-20], "is cut off: its gzip data does not end"),
        (PACKED[".xml.zst"](export(PAGES))[:-20], "is cut off: its zstandard data does not end"),
        (export([]), "has no articles"),
        (export(PAGES, "xx"), "has the language 'xx', which no Wikipedia has"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_bad_dumps_are_sentences_and_leave_nothing(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(OpenMofiError, match=message):
        build_anchors([tmp_path / "a"], tmp_path / "out" / "a.parquet")
    assert not any((tmp_path / "out").iterdir())


def test_of_pages_with_the_same_title_the_last_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "BLOCK", 400)
    write(tmp_path / "once.xml", PAGES)
    expected = built([tmp_path / "once.xml"], tmp_path / "once.parquet")
    old = [page("Elbe", "[[Hamburg|Elbe]] Elbe Elbe"), page("Lifter", "a [[crane]]"), page("Hamburg", redirect="Elbe")]
    write(tmp_path / "a.xml.bz2", [*old, *PAGES[:4], page("Tower crane", "A [[bird|crane]].")])
    counts = build_anchors([tmp_path / "a.xml.bz2", write(tmp_path / "b.xml.gz", PAGES)], tmp_path / "a.parquet")
    assert (counts["repeated"], counts["pages"], counts["names"]) == (8, 4, len(expected.names))
    found = Anchors.open(tmp_path / "a.parquet")
    assert (found.names, found.probabilities) == (expected.names, expected.probabilities)


def test_wrong_use(tmp_path):
    dump = write(tmp_path / "a.xml", PAGES)
    out = tmp_path / "a.parquet"
    with pytest.raises(OpenMofiError, match=r"b\.xml is missing"):
        build_anchors([tmp_path / "b.xml"], out)
    with pytest.raises(UsageError, match="is given twice"):
        build_anchors([dump, dump], out)
    with pytest.raises(UsageError, match="has the language 'german'"):
        build_anchors([dump], out, AnchorSettings(language="german"))
    built([dump], out)
    other = tmp_path / "other.parquet"
    pq.write_table(built([dump], other).names, other)
    with pytest.raises(OpenMofiError, match="was not written together"):
        Anchors.open(other)


def test_the_command(tmp_path):
    dump = write(tmp_path / "a.xml.bz2", PAGES)
    run = CliRunner().invoke(app, ["anchors", str(dump), "-o", str(tmp_path / "a.parquet"), "--json"])
    assert run.exit_code == 0, run.output
    assert '"names": 10' in run.stdout
    assert '"pages": 4,' in run.stdout

"""Priors from counted links, page views and sitelinks: by hand, against oracles, and on links that were held out."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import zstandard
from item_dumps import Entity, item, statement, write_dump
from joined_world import Files, held_out_links, linked_priors, priors_of, score, world, write_files
from numpy.typing import NDArray
from page_dumps import page, write
from typer.testing import CliRunner

from openmofi.cli import kb as kb_cli
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.wikidata.anchor_tables import ANCHORS_DIGEST, Anchors, names_tables, probabilities_path
from openmofi.plugins.wikidata.anchors import build_anchors
from openmofi.plugins.wikidata.build import Extras, WikidataSettings, build_wikidata
from openmofi.plugins.wikidata.priors import ALPHAS, BETAS, GAMMAS, NameCounts, Weights, _shares, fit_weights
from openmofi.storage import write_table
from openmofi.storage.digests import file_digest


def cranes() -> list[Entity]:
    """Cranes of two kinds that have articles, and one that has none."""
    items = [
        item(
            1,
            {"en": "crane", "de": "Kranich"},
            sitelinks=["enwiki", "dewiki", "frwiki"],
            claims={"P18": [statement("P18", "A crane.jpg")], "P214": [statement("P214", "123")]},
        ),
        item(2, {"en": "tower crane"}, aliases={"en": ["crane"]}, sitelinks=["enwiki"]),
        item(3, {"en": "Crane"}),
        item(4, {"en": "Elbe"}, sitelinks=["enwiki", "dewiki"]),
    ]
    for entity, title in zip(items, ("Crane (bird)", "Tower crane", None, "Elbe"), strict=True):
        if title:
            entity["sitelinks"]["enwiki"]["title"] = title
    return items


PAGES = [
    page("Crane", "* [[Crane (bird)]]\n* [[Tower crane]]\n{{disambig}}"),
    page("Crane (bird)", "It flies over the [[Elbe|river]]."),
    page("Tower crane", "No [[Crane (bird)|crane]]. A [[tower crane|crane]] and a [[tower crane|crane]], cranes."),
    page("Elbe", "A river with [[Tower crane|cranes]]."),
    page("Hammerhead", redirect="Tower crane"),
    page("Nowhere", "[[Elbe|Labe]]"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("cranes")
    build_anchors([write(folder / "en.xml.bz2", PAGES)], folder / "en.parquet")
    (folder / "qrank.csv").write_text("Entity,QRank\nQ2,400\nQ1,100\nP31,7\nQ99,5\nQ4,30\n")
    return {
        "items": write_dump(folder / "all.json.gz", cranes()),
        "anchors": folder / "en.parquet",
        "qrank": folder / "qrank.csv",
    }


def built(files: dict[str, Path], out: Path, settings: WikidataSettings | None = None, **extras: Any) -> KnowledgeBase:
    build_wikidata([files["items"]], out, settings, extras=Extras.of(**extras), workers=1)
    return KnowledgeBase.open(out)


def meant(base: KnowledgeBase, name: str) -> dict[str, float]:
    return {row["id"]: round(row["prior"], 4) for row in base.lookup(name)["candidates"]}


def test_links_and_names_by_hand(files: dict[str, Path], tmp_path: Path) -> None:
    base = built(files, tmp_path / "kb", anchors=[files["anchors"]])
    # Links: "crane" 1 and 2, "cranes" 0 and 1; called so: the label or alias, the title, a tenth of an entry.
    bird, machine, other = 1 + (1 + 1 + 0.1) + 4 / 7, 3 + (1 + 0.1) + 2 / 7, 0 + 1 + 1 / 7
    total = bird + machine + other
    assert meant(base, "Cranes") == pytest.approx(
        {"Q1": bird / total, "Q2": machine / total, "Q3": other / total}, abs=1e-4
    )
    assert meant(base, "hammerhead") == {"Q2": 1.0}  # a redirect
    assert meant(base, "labe") == meant(base, "river") == {"Q4": 1.0}
    rows = base.lookup("crane")["candidates"]
    assert {row["id"]: row["prior_from"] for row in rows} == {"Q1": "links", "Q2": "links", "Q3": "sitelinks"}
    assert {row["id"]: row["image"] for row in rows} == {"Q1": "A crane.jpg", "Q2": "", "Q3": ""}
    priors = base.manifest.counts["priors"]
    assert (priors["links"], priors["sitelinks"], priors["links_fitted_on"]) == (3, 1, 4)
    assert (priors["alpha"], priors["beta"], priors["gamma"]) == (1, 1, 1)  # so few links say nothing
    assert base["Q1"].image == "A crane.jpg"


def test_link_probabilities_are_those_of_the_tables(files: dict[str, Path], tmp_path: Path) -> None:
    base = built(files, tmp_path / "kb", anchors=[files["anchors"]])
    titles = {"Crane (bird)": "Q1", "Tower crane": "Q2", "Elbe": "Q4"}
    _, surfaces = names_tables(Anchors.open(files["anchors"]), titles)
    assert len(surfaces)
    for row in surfaces.to_pylist():
        assert base.link_probability(row["name"]) == pytest.approx(row["link_probability"], rel=1e-5)
    assert base.link_probability("Kranich") == 0


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, lambda data: bz2.compress(data[:20]) + bz2.compress(data[20:]), zstandard.compress],
)
@pytest.mark.parametrize("signals", [False, True])
def test_page_views_of_either_table_however_it_is_compressed(
    files: dict[str, Path], tmp_path: Path, compress: Callable[[bytes], bytes], signals: bool
) -> None:
    lines = files["qrank"].read_text().splitlines()[1:]
    table = ["Entity,QRank", *lines]
    if signals:
        table = [
            "item,pageviews_52w,wikitext_bytes,claims,identifiers,sitelinks",
            *(f"{line},5,4,3,2" for line in lines),
        ]
    (tmp_path / "views").write_bytes(compress("\n".join(table).encode()))
    base = built(files, tmp_path / "kb", pageviews=tmp_path / "views")
    assert {row: base[row].popularity for row in ("Q1", "Q2", "Q3", "Q4")} == {"Q1": 100, "Q2": 400, "Q3": 25, "Q4": 30}


def test_page_views_are_the_prior_where_there_are_no_links(files: dict[str, Path], tmp_path: Path) -> None:
    packed = tmp_path / "views"
    packed.write_bytes(gzip.compress(files["qrank"].read_bytes()))
    base = built(files, tmp_path / "kb", pageviews=packed)
    # Q3 has no page views: as many as the median item has, a sitelink and one: of 100/4, 400/2, 30/3.
    assert {row: base[row].popularity for row in ("Q1", "Q2", "Q3", "Q4")} == {"Q1": 100, "Q2": 400, "Q3": 25, "Q4": 30}
    assert meant(base, "crane") == pytest.approx({"Q2": 401 / 528, "Q1": 101 / 528, "Q3": 26 / 528}, abs=1e-4)
    assert [row["prior_from"] for row in base.lookup("crane")["candidates"]] == ["pageviews", "pageviews", "sitelinks"]
    both = built(files, tmp_path / "both", anchors=[files["anchors"]], pageviews=packed)
    assert base.manifest.counts["priors"] == {"pageviews": 3, "sitelinks": 1}
    assert {row["id"]: row["prior_from"] for row in both.lookup("crane")["candidates"]} == {
        "Q1": "links",
        "Q2": "links",
        "Q3": "sitelinks",
    }


def test_several_languages_add_up(files: dict[str, Path], tmp_path: Path) -> None:
    german = [
        page("Kranich", "[[Elbe|crane]]"),
        page("Elbe", "Ein [[Kranich|crane]]."),
        page("De", "[[Kranich|crane]]"),
    ]
    build_anchors([write(tmp_path / "de.xml", german, "de")], tmp_path / "de.parquet")
    items = cranes()
    items[0]["sitelinks"]["dewiki"]["title"] = "Kranich"
    items[3]["sitelinks"]["dewiki"]["title"] = "Elbe"
    dump = {"items": write_dump(tmp_path / "all.json", items)}
    base = built(
        dump,
        tmp_path / "kb",
        WikidataSettings(languages=("en", "de")),
        anchors=[files["anchors"], tmp_path / "de.parquet"],
    )
    assert meant(base, "crane")["Q4"] > 0
    assert base.lookup("crane")["candidates"][0]["id"] == "Q1"  # three links of both languages
    assert base.link_probability("crane") > 0


def test_links_of_a_wikipedia_with_another_code_than_its_language(tmp_path: Path) -> None:
    """Labels are of `nb` and `zh-hant`; the page dumps are of `no` and `zh`."""
    for wiki, link in (("no", "fuglen"), ("zh", "鶴鳥")):
        pages = [page("Trane", "En fugl."), page("Elbe", f"[[Trane|{link}]]")]
        build_anchors([write(tmp_path / f"{wiki}.xml", pages, wiki)], tmp_path / f"{wiki}.parquet")
    crane = item(1, {"nb": "trane", "zh-hant": "鶴"}, sitelinks=["nowiki", "zhwiki"])
    for link in crane["sitelinks"].values():
        link["title"] = "Trane"
    base = built(
        {"items": write_dump(tmp_path / "all.json", [crane])},
        tmp_path / "kb",
        WikidataSettings(languages=("nb", "zh-hant", "zh-hans")),
        anchors=[tmp_path / "no.parquet", tmp_path / "zh.parquet"],
    )
    assert {name: base.lookup(name)["languages"] for name in ("trane", "fuglen", "鶴鳥")} == {
        "trane": ["nb", "zh-hans", "zh-hant"],
        "fuglen": ["nb"],
        "鶴鳥": ["zh-hans", "zh-hant"],
    }


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Files, dict[str, KnowledgeBase], Path]:
    folder = tmp_path_factory.mktemp("joined")
    made = write_files(world(1500, seed=3), folder)
    bases = {
        name: built({"items": made.items}, folder / name, **extras)
        for name, extras in {
            "sitelinks": {},
            "pageviews": {"pageviews": made.pageviews},
            "mixed": {"anchors": [made.anchors]},
            "all": {"anchors": [made.anchors], "pageviews": made.pageviews},
        }.items()
    }
    return made, bases, next((folder / "mixed.work").glob("tables-*/titles.parquet"))


@pytest.mark.slow
def test_links_that_were_held_out_are_likeliest_under_the_mixture(
    joined: tuple[Files, dict[str, KnowledgeBase], Path],
) -> None:
    made, bases, titles = joined
    held = held_out_links(made, titles)
    candidates = priors_of(bases["mixed"], held)
    scores = {name: score(priors_of(base, held), held, candidates) for name, base in bases.items()}
    alone = score(linked_priors(made, titles), held, candidates)
    assert scores["mixed"]["links"] > 1000
    for name in ("mixed", "all"):
        others = [alone, scores["sitelinks"], scores["pageviews"]]
        assert scores[name]["log_likelihood"] > max(each["log_likelihood"] for each in others) + 0.03
        assert scores[name]["accuracy"] >= max(alone["accuracy"], scores["pageviews"]["accuracy"]) - 0.005
        # What leaving one out promises, held-out pages keep, within chance.
        promised = bases[name].manifest.counts["priors"]["log_likelihood"]
        assert promised == pytest.approx(scores[name]["log_likelihood"], abs=0.08)


def test_the_same_files_give_the_same_bytes(
    joined: tuple[Files, dict[str, KnowledgeBase], Path], tmp_path: Path
) -> None:
    made, bases, _ = joined
    build_wikidata(
        [made.items], tmp_path / "again", extras=Extras.of([made.anchors], made.pageviews), workers=2, memory="500MB"
    )
    for name, size in bases["all"].manifest.counts["files"].items():
        assert (tmp_path / "again" / name).stat().st_size == size
        assert (tmp_path / "again" / name).read_bytes() == (bases["all"].path / name).read_bytes()


def test_the_fit_is_leaving_each_link_out_in_turn() -> None:
    draw = np.random.default_rng(0)
    sizes = draw.integers(2, 5, 12)
    name = np.repeat(np.arange(12), sizes)
    counts = NameCounts(
        name,
        draw.integers(0, 30, len(name)) * 1.0,
        draw.integers(0, 3, len(name)) * 1.0,
        draw.integers(0, 200, len(name)) * 1.0,
    )
    counts.links[0] = 1000

    def left_out(weights: Weights) -> float:
        logs = 0.0
        for place in np.flatnonzero(counts.links):
            rest = counts.links.copy()
            rest[place] -= 1
            prior = commonness(NameCounts(name, rest, counts.called, counts.popularity), weights)
            logs += counts.links[place] * np.log(prior[place])
        return float(logs / counts.links.sum())

    fit = fit_weights(counts)
    assert fit.log_likelihood == pytest.approx(left_out(fit.weights))
    grid = [left_out(Weights(*each)) for each in product(ALPHAS[::3], BETAS[::2], GAMMAS[::2])]
    assert fit.log_likelihood >= max(grid) - 1e-12
    alone = commonness(counts, fit.weights, links=False)
    assert fit.popularity_alone == pytest.approx(float(counts.links @ np.log(alone) / counts.links.sum()))


def commonness(counts: NameCounts, weights: Weights, *, links: bool = True) -> NDArray[np.float64]:
    """P(e | n) of each row.

    Args:
        counts: see there.
        weights: see there.
        links: `False`: by popularity alone.
    """
    share = _shares(counts, weights.beta)
    if not links:
        return share
    mass = counts.links + weights.gamma * counts.called + weights.alpha * share
    return mass / np.bincount(counts.name, mass)[counts.name]


@pytest.mark.parametrize("weights", [Weights(), Weights(0.5, 0, 0), Weights(8, 2, 4)])
def test_commonness_adds_up_to_one(weights: Weights) -> None:
    draw = np.random.default_rng(1)
    counts = NameCounts(np.repeat(np.arange(50), 3), *(draw.integers(0, 9, 150) * 1.0 for _ in range(3)))
    for links in (True, False):
        assert np.bincount(counts.name, commonness(counts, weights, links=links)) == pytest.approx(np.ones(50))


def damaged(folder: Path, files: dict[str, Path], kind: str) -> dict[str, object]:
    """Extras of which one is no such file."""
    path, beside = folder / "en.parquet", folder / "en.link-probability.parquet"
    path.write_bytes(files["anchors"].read_bytes())
    beside.write_bytes(probabilities_path(files["anchors"]).read_bytes())
    views = folder / "views.csv"
    if kind == "cut off":
        path.write_bytes(path.read_bytes()[:-50])
    elif kind == "no file":
        path.unlink()
    elif kind == "text":
        path.write_text("name,title\n")
    elif kind == "alone":
        beside.unlink()
    elif kind == "other version":
        pq.write_table(pq.read_table(path).drop_columns(["titles"]), path)
    elif kind == "newer version":
        table = pq.read_table(path)
        pq.write_table(table.append_column("more", table["titles"]), path)
    elif kind == "other run":
        pq.write_table(pq.read_table(path), path)
    elif kind == "other site":
        build_anchors([write(folder / "other.xml", [page("Somewhere", "[[Anywhere]]")])], path)
    elif kind == "empty":
        write_table(path, pq.read_table(path).slice(0, 0))
        write_table(beside, pq.read_table(beside).replace_schema_metadata(None), {ANCHORS_DIGEST: file_digest(path)})
    elif kind == "other language":
        build_anchors([write(folder / "other.xml", [page("Elbe", "[[Kranich]]")], "de")], path)
    elif kind == "twice":
        (folder / "b.parquet").write_bytes(path.read_bytes())
        (folder / "b.link-probability.parquet").write_bytes(beside.read_bytes())
        return {"anchors": [path, folder / "b.parquet"]}
    elif kind.startswith("views"):
        views.write_text(
            {
                "views html": "<!DOCTYPE html>\n<html>",
                "views empty": "",
                "views words": "Entity,QRank\nQ1,many\n",
                "views unknown": "Entity,QRank\nQ77,1\n",
            }[kind]
        )
        return {"pageviews": views}
    return {"anchors": [path]}


@pytest.mark.parametrize(
    ("kind", "error", "match"),
    [
        ("cut off", OpenMofiError, r"en\.parquet cannot be read: .*openmofi kb anchors"),
        ("no file", OpenMofiError, r"en\.parquet cannot be read|en\.parquet is missing"),
        ("text", OpenMofiError, r"en\.parquet cannot be read"),
        ("alone", OpenMofiError, r"en\.link-probability\.parquet is missing"),
        ("other version", OpenMofiError, "has other columns than this version of OpenMOFI writes"),
        ("newer version", OpenMofiError, "has other columns than this version of OpenMOFI writes"),
        ("other run", OpenMofiError, "was not written together with"),
        ("empty", OpenMofiError, "has no names"),
        ("other site", OpenMofiError, "None of the articles of .* is of an entity of the base"),
        ("other language", UsageError, "has names of 'de', and the base has the languages en"),
        ("twice", UsageError, "both have names of 'en'"),
        ("views html", OpenMofiError, "is no table of page views: it begins with '<!DOCTYPE html>'"),
        ("views empty", OpenMofiError, "is empty"),
        ("views words", OpenMofiError, "cannot be read as page views"),
        ("views unknown", OpenMofiError, "knows none of the base's entities"),
    ],
)
def test_wrong_files_are_a_sentence_and_leave_nothing(
    files: dict[str, Path], tmp_path: Path, kind: str, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match) as refused:
        built(files, tmp_path / "kb", **damaged(tmp_path, files, kind))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "kb/entities.arrow").exists()


def test_another_build_into_the_same_folder_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    built(files, tmp_path / "kb")
    with pytest.raises(OpenMofiError, match="anchors/en"):
        built(files, tmp_path / "kb", anchors=[files["anchors"]])
    assert KnowledgeBase.open(tmp_path / "kb").manifest.counts["priors"] == {"sitelinks": 4}


def test_a_language_of_no_wikipedia_is_said(
    files: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    built(files, tmp_path / "kb", WikidataSettings(languages=("en", "dee")))
    assert "'dee' is the language of no Wikipedia" in caplog.text
    assert "Did you mean" in caplog.text


def test_the_command_takes_them_and_shows_where_priors_are_from(files: dict[str, Path], tmp_path: Path) -> None:
    run = CliRunner().invoke(
        kb_cli.app,
        [
            "build",
            "wikidata",
            str(files["items"]),
            "-o",
            str(tmp_path / "kb"),
            "--anchors",
            str(files["anchors"]),
            "--pageviews",
            str(files["qrank"]),
            "--external-ids",
            "P214, P227",
            "--json",
        ],
    )
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["priors"]["links"] == 3
    assert pq.read_table(tmp_path / "kb/external_ids.parquet").to_pylist() == [
        {"id": "Q1", "property": "P214", "value": "123"}
    ]
    shown = CliRunner().invoke(kb_cli.app, ["lookup", str(tmp_path / "kb"), "crane"])
    assert shown.exit_code == 0
    assert "links" in shown.stdout

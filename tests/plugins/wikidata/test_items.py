"""What is kept of a line, against a plain `json.loads`."""

from __future__ import annotations

import json

import pytest
from item_dumps import Entity, item, lines_of, random_items, statement
from plain_reader import plain_row

from openmofi.plugins.wikidata.items import ITEMS, ItemReader

EXTERNAL = ("P214", "P227", "P569")


@pytest.mark.parametrize("languages", [("en",), ("de", "en"), ("zh-hant", "fr"), ("de-at", "de", "en")])
def test_items_are_read_as_a_plain_reader_reads_them(languages: tuple[str, ...]) -> None:
    entities = random_items(600, seed=len(languages))
    table, broken, others = ItemReader(languages, EXTERNAL).read(lines_of(entities))
    assert table.schema.equals(ITEMS)
    assert table.to_pylist() == [plain_row(json.loads(json.dumps(entity)), languages, EXTERNAL) for entity in entities]
    assert (broken, others) == ([], 0)


def test_ranks_and_unknown_values_decide_what_counts() -> None:
    entity = item(
        1,
        {"en": "a"},
        claims={
            "P31": [statement("P31", 2), statement("P31", 3, rank="preferred"), statement("P31", 4, rank="deprecated")],
            "P279": [statement("P279", 5, snaktype="somevalue"), statement("P279", 6), statement("P279", 6)],
            "P18": [statement("P18", "A crane.jpg"), statement("P18", "Another.jpg")],
        },
    )
    row = ItemReader(["en"]).read(lines_of([entity]))[0].to_pylist()[0]
    assert (row["kinds"], row["parents"], row["image"]) == ([3], [6], "A crane.jpg")


def test_broken_lines_are_told_apart_from_other_entities() -> None:
    whole = json.dumps(item(1, {"en": "a"}, claims={})).encode()
    lines = [
        b"[",
        whole + b",\r",
        whole[:90] + b",",
        b'{"type":"property","id":"P31"},',
        b'{"type":"lexeme","id":"L1"}',
        b"\xff\xfe,",
        b'{"type":"item","id":"X7"}',
        b'{"type":"item"}',
        b"",
        b"]",
        b'{"type":"item","id":"Q99999999999999999999"}',
        b'{"type":"item","id":"Q7","lastrevid":9223372036854775808}',
    ]
    table, broken, others = ItemReader(["en"]).read(lines)
    assert table.column("id").to_pylist() == [1]
    assert others == 2
    assert [each.line for each in broken] == [2, 5, 6, 7, 10, 11]
    assert all(each.why for each in broken)


def test_items_that_have_a_number_and_no_id_are_read() -> None:
    """As in dumps of 2015, and in some answers of the API."""
    old = statement("P31", 5)
    del old["mainsnak"]["datavalue"]["value"]["id"]
    prop = of_type("wikibase-property", "wikibase-entityid", {"entity-type": "property", "numeric-id": 31, "id": "P31"})
    entity = item(1, {"en": "a"}, claims={"P31": [old, statement("P31", 5), statement("P31", 6)], "P361": [prop]})
    row = ItemReader(["en"]).read(lines_of([entity]))[0].to_pylist()[0]
    assert (row["kinds"], row["relations"]) == ([5, 6], [])


def test_a_name_falls_back_as_on_wikidata() -> None:
    def names(entity: Entity, *languages: str) -> tuple[str, list[str]]:
        row = ItemReader(languages).read(lines_of([entity]))[0].to_pylist()[0]
        return row["name"], row["aliases"]

    both = item(1, {"mul": "Grus grus", "de": "Kranich"}, aliases={"mul": ["G. grus"], "fr": ["grue"]})
    assert names(both, "en") == ("Grus grus", ["G. grus"])
    assert names(both, "de") == ("Kranich", ["Grus grus", "G. grus"])
    assert names(both, "de-at") == ("Kranich", ["Grus grus", "G. grus"])
    assert names(both, "en", "de") == ("Grus grus", ["Kranich", "G. grus"])
    assert names(item(2, {"fr": "grue"}), "en") == ("", [])
    crane = {"zh-hk": "鶴", "zh": "鹤", "mul": "Grus", "en": "crane"}
    assert names(item(3, crane), "zh-hant") == ("鶴", ["Grus"])
    assert names(item(3, crane), "zh-hant", "zh") == ("鶴", ["鹤", "Grus"])
    assert names(item(3, crane), "nb", "en") == ("Grus", ["crane"])
    assert names(item(3, {"nn": "trane", "en": "crane"}), "nb", "en") == ("trane", ["crane"])


def test_languages_have_the_wikipedia_that_is_theirs() -> None:
    """Labels are of `nb`, `yue` or `zh-hant`; sitelinks and page dumps are of other codes."""
    entity = item(
        1, {"nb": "trane"}, sitelinks=["nowiki", "zh_yuewiki", "zhwiki", "be_x_oldwiki", "dewiki", "simplewiki"]
    )
    languages = ["nb", "yue", "zh-hant", "zh-hans", "be-tarask", "de-at", "simple", "en-gb"]
    row = ItemReader(languages).read(lines_of([entity]))[0].to_pylist()[0]
    assert [title["language"] for title in row["titles"]] == ["no", "zh-yue", "zh", "be-x-old", "de", "simple"]


def test_names_of_the_marked_languages_are_aliases_in_latin_letters_too() -> None:
    moscow = item(
        649,
        {"en": "Moscow", "ru": "Москва", "el": "Μόσχα"},
        aliases={"ru": ["Белокаменная", "RU-MOW"], "en": ["Moskva", "Мск"], "mul": ["Первопрестольная"]},
    )

    def names(*transliterate: str) -> dict[str, str]:
        row = ItemReader(["en", "ru", "el"], transliterate=transliterate).read(lines_of([moscow]))[0].to_pylist()[0]
        assert row["name"] == "Moscow"
        return dict(zip([row["name"], *row["aliases"]], row["languages"], strict=True))

    plain = names()
    assert plain["Moskva"] == "en"
    assert "Belokamennaya" not in plain
    assert names("ru") == {**plain, "Moskva": "en ru", "Belokamennaya": "ru"}
    assert names("el", "ru") == {**plain, "Moskva": "en ru", "Belokamennaya": "ru", "Moscha": "el"}


def of_type(datatype: str, kind: str, value: object) -> Entity:
    """A statement of P361 whose value is of a type of data, as the documented format has it."""
    return {
        "mainsnak": {
            "snaktype": "value",
            "property": "P361",
            "datatype": datatype,
            "datavalue": {"type": kind, "value": value},
        },
        "type": "statement",
        "rank": "normal",
    }


ODD = [
    of_type("entity-schema", "wikibase-entityid", {"entity-type": "entity-schema", "id": "E10"}),
    of_type("wikibase-property", "wikibase-entityid", {"entity-type": "property", "numeric-id": 31, "id": "P31"}),
    of_type("wikibase-lexeme", "wikibase-entityid", {"entity-type": "lexeme", "numeric-id": 3, "id": "L3"}),
    of_type("wikibase-form", "wikibase-entityid", {"entity-type": "form", "id": "L3-F1"}),
    of_type("monolingualtext", "monolingualtext", {"text": "a", "language": "mul"}),
    of_type("quantity", "quantity", {"amount": "+10", "unit": "1", "upperBound": "+11", "lowerBound": "+9"}),
    of_type(
        "globe-coordinate",
        "globecoordinate",
        {
            "latitude": 1.5,
            "longitude": 2,
            "altitude": None,
            "precision": None,
            "globe": "http://www.wikidata.org/entity/Q2",
        },
    ),
    of_type("commonsMedia", "string", "A.jpg"),
    {
        "mainsnak": {
            "snaktype": "value",
            "property": "P361",
            "datatype": "bad",
            "datavalue": {"type": "bad", "value": None, "error": "Unknown"},
        },
        "type": "statement",
        "rank": "normal",
    },
]


def test_all_that_the_documented_format_allows_is_read() -> None:
    """Values of other types are no items; badges, redirected titles and huge lines are read; other entities counted."""
    whole = item(1, {"mul": "a"}, claims={"P361": [*ODD, statement("P361", 7)]}, descriptions={"en": "d" * 12_000_000})
    whole["sitelinks"] = {"enwiki": {"site": "enwiki", "title": "A", "badges": ["Q17437796"], "url": "https://…"}}
    whole["aliases"] = {"en": []}
    others: list[Entity] = [
        {
            "type": "mediainfo",
            "id": "M7",
            "labels": {"en": {"language": "en", "value": "a"}},
            "descriptions": [],
            "statements": {"P180": [statement("P180", 2)]},
            "lastrevid": 3,
        },
        {
            "type": "lexeme",
            "id": "L1",
            "lemmas": {"en": {"language": "en", "value": "a"}},
            "lexicalCategory": "Q1",
            "language": "Q1860",
            "claims": {"P361": ODD},
            "forms": [],
            "senses": [],
        },
        {"type": "property", "id": "P31", "datatype": "wikibase-item", "labels": {}, "claims": {"P361": ODD}},
    ]
    table, broken, count = ItemReader(["en"]).read(lines_of([whole, *others]))
    assert (broken, count) == ([], len(others))
    (row,) = table.to_pylist()
    assert (row["name"], row["languages"], row["sitelinks"]) == ("a", ["mul"], 1)
    assert (len(row["description"]), row["relations"]) == (12_000_000, [{"property": 361, "item": 7}])

"""What is kept of a line, against a plain `json.loads`."""

from __future__ import annotations

import json

import pytest
from item_dumps import Entity, item, lines_of, random_items, statement
from plain_reader import plain_row

from openmofi.knowledge.wikidata.items import ITEMS, ItemReader

EXTERNAL = ("P214", "P227", "P569")


@pytest.mark.parametrize("languages", [("en",), ("de", "en"), ("zh-hant", "fr")])
def test_items_are_read_as_a_plain_reader_reads_them(languages: tuple[str, ...]) -> None:
    entities = random_items(2000, seed=len(languages))
    table, broken, others = ItemReader(languages, EXTERNAL).read(lines_of(entities))
    assert table.schema.equals(ITEMS)
    assert table.to_pylist() == [plain_row(json.loads(json.dumps(entity)), languages, EXTERNAL) for entity in entities]
    assert (broken, others) == ([], 0)


def test_ranks_and_unknown_values_decide_what_counts() -> None:
    entity = item(1, {"en": "a"}, claims={
        "P31": [statement("P31", 2), statement("P31", 3, rank="preferred"), statement("P31", 4, rank="deprecated")],
        "P279": [statement("P279", 5, snaktype="somevalue"), statement("P279", 6), statement("P279", 6)],
        "P18": [statement("P18", "A crane.jpg"), statement("P18", "Another.jpg")]})
    row = ItemReader(["en"]).read(lines_of([entity]))[0].to_pylist()[0]
    assert (row["kinds"], row["parents"], row["image"]) == ([3], [6], "A crane.jpg")


def test_broken_lines_are_told_apart_from_other_entities() -> None:
    whole = json.dumps(item(1, {"en": "a"}, claims={})).encode()
    lines = [b"[", whole + b",\r", whole[:90] + b",", b'{"type":"property","id":"P31"},',
             b'{"type":"lexeme","id":"L1"}', b"\xff\xfe,", b'{"type":"item","id":"X7"}', b'{"type":"item"}', b"", b"]",
             b'{"type":"item","id":"Q99999999999999999999"}',
             b'{"type":"item","id":"Q7","lastrevid":9223372036854775808}']
    table, broken, others = ItemReader(["en"]).read(lines)
    assert table.column("id").to_pylist() == [1]
    assert others == 2
    assert [each.line for each in broken] == [2, 5, 6, 7, 10, 11]
    assert all(each.why for each in broken)


def test_the_name_that_holds_in_all_languages_is_the_last_resort() -> None:
    def names(entity: Entity, *languages: str) -> tuple[str, list[str]]:
        row = ItemReader(languages).read(lines_of([entity]))[0].to_pylist()[0]
        return row["name"], row["aliases"]

    both = item(1, {"mul": "Grus grus", "de": "Kranich"}, aliases={"mul": ["G. grus"], "fr": ["grue"]})
    assert names(both, "en") == ("Grus grus", ["G. grus"])
    assert names(both, "de") == ("Kranich", ["Grus grus", "G. grus"])
    assert names(item(2, {"fr": "grue"}), "en") == ("", [])


def test_names_of_the_marked_languages_are_aliases_in_latin_letters_too() -> None:
    moscow = item(649, {"en": "Moscow", "ru": "Москва", "el": "Μόσχα"},
                  aliases={"ru": ["Белокаменная", "RU-MOW"], "en": ["Moskva", "Мск"], "mul": ["Первопрестольная"]})

    def names(*transliterate: str) -> dict[str, str]:
        row = ItemReader(["en", "ru", "el"], transliterate=transliterate).read(lines_of([moscow]))[0].to_pylist()[0]
        assert row["name"] == "Moscow"
        return dict(zip([row["name"], *row["aliases"]], row["languages"], strict=True))

    plain = names()
    assert plain["Moskva"] == "en"
    assert "Belokamennaya" not in plain
    assert names("ru") == {**plain, "Moskva": "en ru", "Belokamennaya": "ru"}
    assert names("el", "ru") == {**plain, "Moskva": "en ru", "Belokamennaya": "ru", "Moscha": "el"}

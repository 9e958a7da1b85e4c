from __future__ import annotations

import pytest

from openmofi.storage.manifest import differences


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ({"a": 1}, {"a": 2}, "a: 1 → 2"),
        ({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, {"e": 5}, "a: 1 → None; b: 2 → None; c: 3 → None; d: 4 → None"),
        (
            {"read": {"on_damage": "stop", "text_column": ""}},
            {"read": {"on_damage": "keep", "text_column": ""}},
            "read.on_damage: 'stop' → 'keep'",
        ),
        ({"read": {}}, {"read": {"text_column": "a"}}, "read: {} → None; read.text_column: None → 'a'"),
        ({"same": 1}, {"same": 1}, ""),
    ],
)
def test_every_difference_is_named(old, new, named):
    assert differences(old, new) == named


def test_of_a_long_text_the_part_that_differs_is_shown():
    old, new = "a" * 200 + "photo of {name}" + "b" * 200, "a" * 200 + "drawing of {name}" + "b" * 200
    assert differences({"template": old}, {"template": new}) == (
        f"template: '…{'a' * 20}photo of {{name}}{'b' * 10}…' → '…{'a' * 20}drawing of {{name}}{'b' * 10}…'"
    )


def test_of_a_long_list_the_entries_that_differ_are_shown():
    old = [{"name": f"{number:05d}", "path": f"/data/{number:05d}.tar"} for number in range(1000)]
    new = [*old[:500], {"name": "00500", "path": "/elsewhere/00500.tar"}, *old[501:]]
    assert differences({"shards": old}, {"shards": new}) == (
        "shards: [500] (path: '/data/00500.tar' → '/elsewhere/00500.tar')"
    )
    assert differences({"shards": old}, {"shards": old[:-1]}) == (
        "shards: 1,000 → 999 entries; from [999] on 1 → 0 differ, "
        "first {'name': '00999', 'path': '/data/00999.tar'} → nothing"
    )
    assert (
        len(differences({"shards": old}, {"shards": [{"name": entry["name"], "path": "x" * 999} for entry in old]}))
        < 500
    )

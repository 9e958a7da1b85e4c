"""JSON as the type that says what it holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from openmofi.errors import OpenMofiError
from openmofi.storage import parse_json, read_json, write_json


@dataclass(frozen=True)
class Counts:
    """What the file of these tests holds."""

    rows: int
    share: float = 0.0
    names: tuple[str, ...] = ()
    sizes: dict[int, str] = field(default_factory=dict)


def test_reads_what_was_written(tmp_path: Path) -> None:
    write_json(tmp_path / "counts.json", {"rows": 3, "share": 1, "names": ["a", "caf\udce9"], "sizes": {"7": "x"}})
    assert read_json(tmp_path / "counts.json", Counts, "") == Counts(3, 1.0, ("a", "caf\udce9"), {7: "x"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ('{"rows": 3', "Expecting"),
        ("[" * 100_000, "recursion"),
        ("[]", "Expected `object`, got `array`"),
        ("{}", "missing required field `rows`"),
        ('{"rows": "3"}', r"Expected `int`, got `str` - at `\$.rows`"),
        ('{"rows": true}', r"Expected `int`, got `bool`"),
        ('{"rows": NaN}', r"Expected `int`, got `float`"),
        ('{"rows": 3, "share": 1' + "0" * 400 + "}", "out of range"),
        ('{"rows": 3, "names": ["a", 1]}', r"at `\$.names\[1\]`"),
        ('{"rows": 3, "colour": 1}', "unknown key 'colour'"),
    ],
    ids=lambda value: value[:20],
)
def test_refuses_anything_else(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "counts.json"
    path.write_text(text)
    with pytest.raises(OpenMofiError, match=rf"counts\.json cannot be read: .*{why}") as caught:
        read_json(path, Counts, "Count again.")
    assert caught.value.hint == "Count again."


def test_unreadable_files(tmp_path: Path) -> None:
    path = tmp_path / "counts.json"
    with pytest.raises(OpenMofiError, match=r"counts\.json cannot be read: No such file or directory\. Count again\."):
        read_json(path, Counts, "Count again.")
    assert read_json(path, Counts, "", missing=Counts(0)) == Counts(0)
    with pytest.raises(OpenMofiError, match="No counts"):
        read_json(path, Counts, "", missing=OpenMofiError("No counts."))
    path.write_bytes(b'{"rows": \xff}')
    with pytest.raises(OpenMofiError, match=r"counts\.json cannot be read: .*utf-8"):
        read_json(path, Counts, "", missing=Counts(0))
    path.unlink()
    path.mkdir()
    with pytest.raises(OpenMofiError, match=r"counts\.json cannot be read: Is a directory"):
        read_json(path, Counts, "", missing=Counts(0))


def test_any_value() -> None:
    assert parse_json(b'{"a": [1, null]}', dict[str, Any], "it", "") == {"a": [1, None]}
    with pytest.raises(OpenMofiError, match="it cannot be read: Expected `object`, got `int`"):
        parse_json("1", dict[str, Any], "it", "")

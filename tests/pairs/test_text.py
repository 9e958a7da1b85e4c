from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.errors import UsageError
from openmofi.pairs import ReadSettings
from openmofi.pairs.text import byte_limit, from_bytes, from_str, from_value, printable
from openmofi.schema import PairStatus


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), st.integers(1, 40))
def test_texts_come_back_up_to_the_limit(text, limit):
    data = text.encode()
    found = from_bytes(data[: byte_limit(limit) + 1], limit)
    plain = text.removeprefix("\ufeff")
    assert found.text == plain[:limit]
    if len(plain) > limit:
        assert found.status is PairStatus.TEXT_TOO_LONG
    else:
        assert found.status is (PairStatus.OK if plain.replace("\0", "").strip() else PairStatus.TEXT_EMPTY)


@settings(deadline=None)
@given(st.binary(max_size=80), st.integers(1, 100))
def test_any_bytes_give_a_text_for_arrow(data, limit):
    found = from_bytes(data, limit)
    assert len(found.text) <= limit
    assert pa.array([found.text], pa.string())[0].as_py() == found.text
    if len(data) <= byte_limit(limit):
        try:
            data.decode()
        except UnicodeDecodeError:
            assert found.status is PairStatus.TEXT_INVALID
        else:
            assert found.status is not PairStatus.TEXT_INVALID


@settings(deadline=None)
@given(st.text(st.characters()), st.binary())
def test_any_string_gives_a_text_and_a_key_for_arrow(text, data):
    for shown in (from_str(text, 50).text, printable(text), printable(data)):
        assert shown.encode().decode() == shown


def test_keys_that_differ_stay_different():
    assert printable(b"\xe9") != printable(b"\xe8")
    assert printable("é") == printable("é".encode()) == "é"


def test_cells():
    assert from_value(None, 9).status is PairStatus.TEXT_MISSING
    assert from_value([], 9).status is PairStatus.TEXT_MISSING
    assert from_value([b"first", b"second"], 9).text == "first"
    assert from_value(7, 9).text == "7"


@pytest.mark.parametrize("wrong", [{"on_damage": "skip"}, {"max_text_chars": 0}, {"max_image_bytes": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(UsageError):
        ReadSettings(**wrong)


def test_a_number_of_any_size_is_its_digits():
    assert from_value(10**400, 1000).text == str(10**400)
    assert from_value(float("inf"), 1000).status == PairStatus.TEXT_MISSING

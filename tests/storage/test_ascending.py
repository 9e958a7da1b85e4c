import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.storage.table_files import is_ascending, places_in

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=4)


@given(st.sets(TEXTS), st.lists(TEXTS))
def test_places_are_those_of_python(strings, wanted):
    ascending = sorted(strings)
    wanted = [*wanted, *ascending[::2]]
    expected = [ascending.index(text) if text in strings else -1 for text in wanted]
    assert places_in(pa.array(ascending, pa.string()), pa.array(wanted, pa.string())).tolist() == expected


def test_a_slice_and_another_type_are_searched_too():
    strings = pa.array(["a", "b", "c", "d"])[1:3]
    assert places_in(strings, pa.array(["c", "d"]).dictionary_encode()).tolist() == [1, -1]


@pytest.mark.parametrize(
    ("strings", "expected"),
    [
        ([], True),
        (["b"], True),
        (["a", "b", "ba"], True),
        (["a", "a"], False),
        (["b", "a"], False),
        (["é", "z"], False),
    ],
)
def test_ascending_means_by_bytes_and_each_once(strings, expected):
    assert is_ascending(pa.array(strings, pa.string())) == expected

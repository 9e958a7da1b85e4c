"""Pickles of strangers: what is plain comes back as it was, everything else is refused before anything runs."""

import collections
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.errors import OpenMofiError
from openmofi.plugins.benchmarks.plain_pickle import read_plain_pickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(value=PLAIN, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_values_come_back(tmp_path_factory, value, protocol):
    path = tmp_path_factory.getbasetemp() / "plain.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    assert read_plain_pickle(path) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int64),
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([], np.float64),
        np.array(["all_souls_1", "b"]),
        np.array([1, 2], ">i4"),
        np.array([True, False]),
        np.array([b"ab", b"c"]),
        np.array(3.5),
    ],
)
def test_arrays_come_back(tmp_path, array, protocol):
    path = tmp_path / "array.pkl"
    path.write_bytes(pickle.dumps({"a": array, "s": array.ravel()[:1].tolist(), "n": np.float32(2.5)}, protocol))
    found = read_plain_pickle(path)
    assert np.array_equal(found["a"], array)
    assert found["a"].shape == array.shape
    assert found["n"] == 2.5


@pytest.mark.parametrize("inside", [lambda value: value, lambda value: {value: 1}, lambda value: {value}])
def test_tuples_that_hold_one_another_are_refused_at_once(tmp_path, inside):
    nested = ("a",)
    for _ in range(15):
        nested = (nested, nested)
    value = inside(nested)
    path = tmp_path / "nested.pkl"
    path.write_bytes(pickle.dumps(value))
    assert read_plain_pickle(path) == value
    # Twice as large with each, and a hash or a copy of it takes as long.
    path.write_bytes(_doubled(60, inside))
    assert path.stat().st_size < 400
    with pytest.raises(OpenMofiError, match="its tuples hold one another too often"):
        read_plain_pickle(path)


def _doubled(times, inside):
    """The pickle of a tuple that is doubled so often, in `inside`; Python itself cannot hash or compare it."""
    doubled = b"".join(b"q" + bytes([number]) + b"h" + bytes([number]) + b"\x86" for number in range(times))
    start, tuple_ = b"\x80\x04", b"K\x01\x85" + doubled
    if isinstance(inside(()), dict):
        return start + b"}" + tuple_ + b"K\x01s."
    if isinstance(inside(()), set):
        return start + b"\x8f(" + tuple_ + b"\x90."
    return start + tuple_ + b"."


def test_lists_that_hold_one_another_are_read_as_they_are(tmp_path):
    nested = ["a"]
    for _ in range(60):
        nested = [nested, nested]
    path = tmp_path / "nested.pkl"
    path.write_bytes(pickle.dumps(nested))
    found = read_plain_pickle(path)
    for _ in range(60):
        assert found[0] is found[1]
        found = found[0]
    assert found == ["a"]


def test_an_array_of_objects_is_a_list(tmp_path):
    path = tmp_path / "objects.pkl"
    path.write_bytes(pickle.dumps(np.array(["a", [1, 2]], object)))
    assert read_plain_pickle(path) == ["a", [1, 2]]


def test_python_2_and_its_numpy(tmp_path):
    # As protocol 2 of Python 2 writes numpy.array([7, 9]) and a str: module names of old, bytes as str.
    path = tmp_path / "old.pkl"
    path.write_bytes(
        b"\x80\x02}q\x00U\x01aq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02i8K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x10\x07\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00tbs."
    )
    assert read_plain_pickle(path)["a"].tolist() == [7, 9]


class Attack:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def attacks():
    import os
    import subprocess

    yield Attack(os.system, "touch pwned")
    yield Attack(eval, "__import__('os').system('touch pwned')")
    yield Attack(subprocess.run, ["touch", "pwned"])
    yield Attack(getattr, "text", "format")
    yield Attack(np.load, "x")
    yield Attack(pickle.loads, b"N.")
    yield {"imlist": [Attack(open, "pwned", "w")]}
    yield collections.OrderedDict(a=1)
    yield bytearray(b"a")
    yield 1j
    yield np.array([1j])
    yield np.zeros(2, [("a", "i4")])
    yield np.array([1, Attack(os.system, "touch pwned")], object)


@pytest.mark.parametrize("number", range(13))
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_attacks_are_refused(tmp_path, monkeypatch, number, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "attack.pkl").write_bytes(pickle.dumps(list(attacks())[number], protocol))
    with pytest.raises(OpenMofiError, match="is refused"):
        read_plain_pickle(tmp_path / "attack.pkl")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch pwned'\ntR.",  # a call by name
        b"(S'touch pwned'\nios\nsystem\n.",  # INST
        b"\x80\x02cbuiltins\neval\n(U\x01atR.",
        b"cnumpy\ndtype\nN}U\x06__call__U\x01xs\x86b.",  # change a stand-in
        b"cnumpy\nndarray\n}(S'x'\nI1\nsb.",
        b"cnumpy\ndtype\n(S'i8, os'\ntR.",
        b"\x80\x04Nr\xff\xff\xff\x7f.",  # a far place in memory
        b"\x80\x05\x96\xff\xff\xff\xff\x00\x00\x00\x00.",  # four gigabytes of bytes
        b"Pname\n.",  # PERSID
        b"\x80\x02\x82\x01.",  # EXT1
        b"",
        b"garbage",
        b"\x80\x04]",
        b"\x80\x02](.",
    ],
)
def test_hand_made_programs_are_one_sentence(tmp_path, monkeypatch, program):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.pkl").write_bytes(program)
    with pytest.raises(OpenMofiError, match=r"is refused|damaged pickle"):
        read_plain_pickle(tmp_path / "p.pkl")
    assert not (tmp_path / "pwned").exists()


def test_missing_and_large_files(tmp_path, monkeypatch):
    with pytest.raises(OpenMofiError, match="cannot be read"):
        read_plain_pickle(tmp_path / "none.pkl")
    monkeypatch.setattr("openmofi.plugins.benchmarks.plain_pickle.MAX_BYTES", 3)
    (tmp_path / "p.pkl").write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(OpenMofiError, match="larger than"):
        read_plain_pickle(tmp_path / "p.pkl")

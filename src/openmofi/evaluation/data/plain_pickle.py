"""Pickles of published datasets, read without running anything: plain containers, strings, numbers and number arrays.

A pickle is a program that may call any function of the machine. Here every instruction is looked at first, and the only
things that it may call are stand-ins of ours for the pieces of a NumPy array: NumPy's own way of unpickling is not used
either, since it trusts what it is told about memory.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np

from openmofi.errors import OpenMofiError

MAX_BYTES = 64 << 20
_DTYPE = re.compile(r"[?biufSUO]\d{0,6}")
_PLAIN = frozenset({
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
    "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE",
    "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS", "FROZENSET",
    "GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE",
})
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")


class _Refused(Exception):
    """What the pickle asks for is not plain."""


def read_plain_pickle(path: str | Path, *, max_bytes: int | None = None) -> Any:
    """What a pickle holds: lists, tuples, sets, dictionaries, texts, bytes, numbers, `None`, number arrays.

    Args:
        path: the file.
        max_bytes: its greatest size; 64 MB by default.

    Raises:
        OpenMofiError: it cannot be read, is damaged, is larger than that, or asks for anything else.
    """
    place, most = Path(path), max_bytes or MAX_BYTES
    try:
        if place.stat().st_size > most:
            raise _Refused(f"it is larger than {most >> 20} MB")
        data = place.read_bytes()
        _look_through(data)
        return _plain(_Reader(io.BytesIO(data), encoding="latin1").load())
    except OSError as error:
        raise OpenMofiError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except _Refused as error:
        raise OpenMofiError(f"{path} is not read: {error}.",
                            "Pickles may hold code; only plain lists, numbers and texts are taken. Fetch the file "
                            "again from its authors.") from error
    except Exception as error:
        # A damaged pickle fails in whatever way its bytes happen to lead to.
        raise OpenMofiError(f"{path} is a damaged pickle ({type(error).__name__}).", "Fetch it again.") from error


def _look_through(data: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name not in _PLAIN:
            raise _Refused(f"it uses the pickle instruction {opcode.name}")
        # Room is made for all places up to the one that is named.
        if opcode.name in _PUTS and int(argument or 0) > len(data):
            raise _Refused("it names a place in memory that it cannot need")


class _StandIn:
    """Anything that a pickle may name; none can be changed from there but by its own `__setstate__`."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        raise _Refused("it changes what it only may name")


class _Dtype(_StandIn):
    """Stands for `numpy.dtype`."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise _Refused(f"it holds an array of {code!r}")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
        if order not in ("<", ">", "=", "|"):
            raise _Refused("it holds an array of an unknown byte order")
        self.order = order

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(f"{self.order}{self.code}")


class _Array(_StandIn):
    """Stands for a NumPy array, and for what makes one."""

    def __init__(self, *_: Any) -> None:
        """Empty until its state is set."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        self.value = _array(content, dtype, shape, "F" if fortran else "C")


class _Scalar(_StandIn):
    """Stands for `numpy.core.multiarray.scalar`."""

    def __init__(self, dtype: Any, content: Any = b"") -> None:
        self.value = _array(content, dtype, (), "C")[()]


class _FromBuffer(_Array):
    """Stands for `numpy.core.numeric._frombuffer`."""

    def __init__(self, content: Any, dtype: Any, shape: Any, order: Any) -> None:
        self.value = _array(content, dtype, shape, "F" if order == "F" else "C")


class _Latin1(_StandIn):
    """Stands for `_codecs.encode` and `bytes()`, by which Python 3 writes bytes for Python 2."""

    def __init__(self, text: Any = "", encoding: Any = "latin1") -> None:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise _Refused("it encodes a text in another way than Python does")
        self.value = text.encode("latin1")


class _Type(_StandIn):
    """Stands for `numpy.ndarray`, where it is only named."""


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if isinstance(content, _Latin1):
        content = content.value
    if isinstance(content, str):
        content = content.encode("latin1")
    kind = dtype.numpy()
    if kind.kind == "O":
        if not isinstance(content, list):
            raise _Refused("it holds an array of objects that are not listed")
        filled = np.empty(len(content), object)
        filled[:] = content
    else:
        filled = np.frombuffer(content, kind)
    return filled.reshape(shape, order=order).copy()


_STAND_INS: dict[str, Any] = {
    **{f"numpy.{core}.multiarray._reconstruct": _Array for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _Scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _FromBuffer for core in ("core", "_core")},
    "numpy.ndarray": _Type, "numpy.dtype": _Dtype, "_codecs.encode": _Latin1,
    "__builtin__.bytes": _Latin1, "builtins.bytes": _Latin1,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Only the stand-ins."""
        found = _STAND_INS.get(f"{module}.{name}")
        if found is None:
            raise _Refused(f"it asks for {module}.{name}")
        return found


def _plain(value: Any) -> Any:
    """The same with arrays in place of their stand-ins."""
    if isinstance(value, _Array | _Scalar | _Latin1) and value.value is not None:
        return _plain(value.value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return [_plain(one) for one in value.tolist()]
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_plain(one) for one in value)
    if value is None or isinstance(value, str | bytes | bool | int | float | np.ndarray | np.generic):
        return value
    raise _Refused(f"it holds a {type(value).__name__.strip('_').lower()}")

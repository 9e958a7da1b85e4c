"""Pickles of published datasets, read without running code: plain containers, strings, numbers and number arrays.

A pickle is a program that may call any function. Here all instructions are checked first, and the program can only call
stand-ins for the parts of a NumPy array. NumPy's own unpickling is not used, since it trusts the sizes in the file.
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
    """The pickle is not plain."""


def read_plain_pickle(path: str | Path, *, max_bytes: int | None = None) -> Any:
    """The content of a pickle: lists, tuples, sets, dictionaries, strings, bytes, numbers, `None`, number arrays.

    Args:
        path: the file.
        max_bytes: its maximum size; `MAX_BYTES`, 64 MiB, by default.

    Raises:
        OpenMofiError: it cannot be read, is damaged, is too large, or holds anything else.
    """
    limit = max_bytes or MAX_BYTES
    try:
        if Path(path).stat().st_size > limit:
            raise _Refused(f"it is larger than {limit >> 20} MiB")
        data = Path(path).read_bytes()
        _check_instructions(data)
        return _plain(_Reader(io.BytesIO(data), encoding="latin1").load())
    except OSError as error:
        raise OpenMofiError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except _Refused as error:
        raise OpenMofiError(f"{path} is refused: {error}.",
                            "Pickles may hold code; only plain lists, numbers and strings are accepted. Download "
                            "the file from its authors again.") from error
    except Exception as error:
        # A damaged pickle may raise any exception.
        raise OpenMofiError(f"{path} is a damaged pickle ({type(error).__name__}).", "Download it again.") from error


def _check_instructions(data: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name not in _PLAIN:
            raise _Refused(f"it uses the pickle instruction {opcode.name}")
        # The unpickler allocates its memo up to this index.
        if opcode.name in _PUTS and int(argument or 0) > len(data):
            raise _Refused("it uses a memo index larger than the file")


class _StandIn:
    """Something that a pickle may refer to; it can change only through its own `__setstate__`."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        raise _Refused("it changes an object that it may only refer to")


class _Dtype(_StandIn):
    """Stands for `numpy.dtype`."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise _Refused(f"it holds an array of {code!r}")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
        if order not in ("<", ">", "=", "|"):
            raise _Refused("it holds an array of unknown byte order")
        self.order = order

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(f"{self.order}{self.code}")


class _Array(_StandIn):
    """Stands for a NumPy array and its constructors."""

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
    """Stands for `_codecs.encode` and `bytes()`, with which Python 3 pickles bytes for Python 2."""

    def __init__(self, text: Any = "", encoding: Any = "latin1") -> None:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise _Refused("it encodes a string in another way than Python does")
        self.value = text.encode("latin1")


class _Type(_StandIn):
    """Stands for `numpy.ndarray`, where it is only referred to."""


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if isinstance(content, _Latin1):
        content = content.value
    if isinstance(content, str):
        content = content.encode("latin1")
    kind = dtype.numpy()
    if kind.kind == "O":
        if not isinstance(content, list):
            raise _Refused("it holds an array of objects that is not a list")
        values = np.empty(len(content), object)
        values[:] = content
    else:
        values = np.frombuffer(content, kind)
    return values.reshape(shape, order=order).copy()


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
        stand_in = _STAND_INS.get(f"{module}.{name}")
        if stand_in is None:
            raise _Refused(f"it asks for {module}.{name}")
        return stand_in


def _plain(value: Any) -> Any:
    """`value` with arrays in place of their stand-ins."""
    if isinstance(value, _Array | _Scalar | _Latin1) and value.value is not None:
        return _plain(value.value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_plain(item) for item in value)
    if value is None or isinstance(value, str | bytes | bool | int | float | np.ndarray | np.generic):
        return value
    raise _Refused(f"it holds a {type(value).__name__.strip('_').lower()}")

"""Pickles of published datasets, read without running code: plain containers, strings, numbers and number arrays.

Such a pickle can only call stand-ins for the parts of a NumPy array (`pickles.py`). NumPy's own unpickling is not
used, since it trusts the sizes in the file.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from openmofi.errors import OpenMofiError
from openmofi.plugins.benchmarks.pickles import PickleRefused, restricted_unpickle

MAX_BYTES = 64 << 20
_DTYPE = re.compile(r"[?biufSUO]\d{0,6}")


def read_plain_pickle(path: str | Path, *, max_bytes: int | None = None) -> Any:
    """Read a pickle of lists, tuples, sets, dictionaries, strings, bytes, numbers, `None` and number arrays.

    Args:
        path: the file.
        max_bytes: its maximum size; `MAX_BYTES`, 64 MiB, by default.

    Raises:
        OpenMofiError: it cannot be read, is damaged, is too large, or holds anything else.
    """
    limit = max_bytes or MAX_BYTES
    try:
        if Path(path).stat().st_size > limit:
            raise PickleRefused(f"it is larger than {limit >> 20} MiB")
        data = Path(path).read_bytes()
        return _plain(restricted_unpickle(data, _STAND_INS, encoding="latin1"), {})
    except OSError as error:
        raise OpenMofiError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except PickleRefused as error:
        raise OpenMofiError(
            f"{path} is refused: {error}.",
            "Pickles may hold code; only plain lists, numbers and strings are accepted. Download "
            "the file from its authors again.",
        ) from error
    except Exception as error:
        # A damaged pickle may raise any exception.
        raise OpenMofiError(f"{path} is a damaged pickle ({type(error).__name__}).", "Download it again.") from error


class _Dtype:
    """Stands for an instance of `numpy.dtype`."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise PickleRefused(f"it holds an array of {code!r}")
        self.numpy = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        self.numpy = self.numpy.newbyteorder(state[1])


class _Array:
    """Stands for a NumPy array, whose content is set after it is built."""

    def __init__(self, *_: Any) -> None:
        self.value: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        self.value = _array(content, dtype, shape, "F" if fortran else "C")


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """See `numpy.core.numeric._frombuffer`; `content` is a list for arrays of objects."""
    if isinstance(content, str):
        content = content.encode("latin1")
    if dtype.numpy.kind != "O":
        return np.frombuffer(content, dtype.numpy).reshape(shape, order=order).copy()
    if not isinstance(content, list):
        raise PickleRefused("it holds an array of objects that is not a list")
    return np.fromiter(content, object).reshape(shape, order=order)


def _scalar(dtype: Any, content: Any = b"") -> Any:
    return _array(content, dtype, (), "C")[()]


def _latin1(text: str = "", encoding: str = "latin1") -> bytes:
    """`_codecs.encode` and `bytes()`, with which Python 3 pickles bytes for Python 2."""
    if encoding not in ("latin1", "latin-1"):
        raise PickleRefused("it encodes a string in another way than Python does")
    return text.encode("latin1")


_NUMPY: dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _array,
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
    "_codecs.encode": _latin1,
    "__builtin__.bytes": _latin1,
    "builtins.bytes": _latin1,
}


_STAND_INS = _NUMPY | {name.replace("numpy.core.", "numpy._core."): stand_in for name, stand_in in _NUMPY.items()}


def _plain(value: Any, done: dict[int, tuple[Any, Any]]) -> Any:
    """`value` with arrays in place of their stand-ins.

    `done` is of containers, by identity: what is held many times stays one object, as the pickle has it. Each is kept
    with its result, so that no other takes its identity.
    """
    if id(value) in done:
        return done[id(value)][1]
    plain: Any
    if isinstance(value, _Array) and value.value is not None:
        plain = _plain(value.value, done)
    elif isinstance(value, np.ndarray) and value.dtype.kind == "O":
        plain = [_plain(item, done) for item in value.tolist()]
    elif isinstance(value, dict):
        plain = {_plain(key, done): _plain(item, done) for key, item in value.items()}
    elif isinstance(value, list | tuple | set | frozenset):
        plain = type(value)(_plain(item, done) for item in value)
    elif value is None or isinstance(value, str | bytes | bool | int | float | np.ndarray | np.generic):
        return value
    else:
        raise PickleRefused(f"it holds a {type(value).__name__.strip('_').lower()}")
    done[id(value)] = value, plain
    return plain

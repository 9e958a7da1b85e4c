"""Pickles of published datasets, read without running code: plain containers, strings, numbers and number arrays.

A pickle is a program that may call any function. Such a one can only call stand-ins for the parts of a NumPy array, see
https://docs.python.org/3/library/pickle.html#restricting-globals. NumPy's own unpickling is not used, since it trusts
the sizes in the file.
"""

import io
import pickle
import pickletools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from openmofi.errors import OpenMofiError

MAX_BYTES = 64 << 20
_DTYPE = re.compile(r"[?biufSUO]\d{0,6}")
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_GETS = frozenset(("GET", "BINGET", "LONG_BINGET"))
_TUPLES = frozenset(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"))
_MOST_IN_TUPLE = 1 << 20
# Of each opcode whether it takes all since the last mark from the stack, how many values besides, and how many it puts.
_EFFECTS = {
    opcode.name: (
        marked := pickletools.markobject in opcode.stack_before,
        opcode.stack_before.index(pickletools.markobject) if marked else len(opcode.stack_before),
        len(opcode.stack_after),
    )
    for opcode in pickletools.opcodes
}


class PickleRefused(Exception):
    """The pickle refers to what it may not."""


def restricted_unpickle(
    data: bytes, stand_ins: Mapping[str, Callable[..., Any] | object], *, encoding: str = "ASCII"
) -> Any:
    """Load a pickle as plain values and stand-ins, running no code.

    Args:
        data: the pickle.
        stand_ins: `MODULE.NAME` → a function or class that is called in its place, or a value that stands for it.
        encoding: of Python 2's strings.

    Raises:
        PickleRefused: it asks for anything else, or for more memory than it has bytes.
        Exception: any, where it is damaged.
    """
    _check(data)
    return _Unpickler(data, stand_ins, encoding).load()


def _check(data: bytes) -> None:
    """Refuse what takes more memory or time to load than its size lets one expect.

    The unpickler allocates what a length says (`genops` checks the lengths) and its memo up to the largest index. A key
    that is a tuple is hashed with all that is in it, and tuples that hold one tuple several times grow exponentially:
    the stack is followed here with the size of each tuple in place of its value.
    """
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[int, int] = {}
    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in _PUTS:
            if int(argument or 0) > len(data):
                raise PickleRefused("it uses a memo index larger than the file")
            memo[int(argument or 0)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in _GETS:
            stack.append(memo[int(argument or 0)])
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "MARK":
            marks.append(len(stack))
        else:
            marked, popped, pushed = _EFFECTS[name]
            start = (marks.pop() if marked else len(stack)) - popped
            size = 1 + sum(stack[start:]) if name in _TUPLES else 1
            if size > _MOST_IN_TUPLE:
                raise PickleRefused("its tuples hold one another too often")
            del stack[start:]
            stack += [size] * pushed


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, stand_ins: Mapping[str, Any], encoding: str) -> None:
        super().__init__(io.BytesIO(data), encoding=encoding)
        self._stand_ins = stand_ins

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in, a new one each time, since the pickle may set attributes of what it refers to."""
        stand_in = self._stand_ins.get(f"{module}.{name}")
        if stand_in is None:
            raise PickleRefused(f"it asks for {module}.{name}")
        if isinstance(stand_in, type):
            return type(stand_in.__name__, (stand_in,), {})
        return (lambda *arguments: stand_in(*arguments)) if callable(stand_in) else stand_in


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

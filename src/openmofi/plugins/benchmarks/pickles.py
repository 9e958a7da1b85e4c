"""Pickles read without running code.

A pickle is a program that may call any function. Here it can only call stand-ins that the caller names: see
https://docs.python.org/3/library/pickle.html#restricting-globals.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

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

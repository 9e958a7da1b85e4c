"""Pickles read without running code.

A pickle is a program that may call any function. Here it can only call stand-ins that the caller names: see
https://docs.python.org/3/library/pickle.html#restricting-globals.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")


class PickleRefused(Exception):
    """The pickle asks for more than it may."""


def restricted_unpickle(data: bytes, stand_ins: Mapping[str, Callable[..., Any] | object], *,
                        encoding: str = "ASCII") -> Any:
    """What a pickle holds, made of plain values and stand-ins.

    Args:
        data: the pickle.
        stand_ins: `MODULE.NAME` → a function or class that is called in its place, or a value that stands for it.
        encoding: of Python 2's strings.

    Raises:
        PickleRefused: it asks for anything else, or for more memory than it has bytes.
        Exception: any, where it is damaged.
    """
    # The unpickler allocates what a length says and its memo up to the largest index; `genops` checks the lengths.
    if any(opcode.name in _PUTS and int(argument or 0) > len(data) for opcode, argument, _ in pickletools.genops(data)):
        raise PickleRefused("it uses a memo index larger than the file")
    return _Unpickler(data, stand_ins, encoding).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, stand_ins: Mapping[str, Any], encoding: str) -> None:
        super().__init__(io.BytesIO(data), encoding=encoding)
        self._stand_ins = stand_ins

    def find_class(self, module: str, name: str) -> Any:
        """Only the stand-ins; a new one each time, since the pickle may set attributes of what it refers to."""
        stand_in = self._stand_ins.get(f"{module}.{name}")
        if stand_in is None:
            raise PickleRefused(f"it asks for {module}.{name}")
        if isinstance(stand_in, type):
            return type(stand_in.__name__, (stand_in,), {})
        return (lambda *arguments: stand_in(*arguments)) if callable(stand_in) else stand_in

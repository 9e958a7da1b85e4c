"""How an encoder comes out of a pickle: it is opened again, once a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self, TypeVar
from weakref import WeakValueDictionary

from openmofi.errors import OpenMofiError


class Reopenable(Protocol):
    """What an encoder has that is opened again."""

    @property
    def spec(self) -> str:
        """What it was opened by."""

    @property
    def fingerprint(self) -> str:
        """Of its weights and preprocessing."""

    def with_precision(self, precision: str) -> Self:
        """The same in a precision."""

    def compiled(self) -> Self:
        """The same, compiled."""


Kind = TypeVar("Kind", bound=Reopenable)
_HERE: WeakValueDictionary[tuple[str, str, str, bool], Any] = WeakValueDictionary()


def in_precision(reopen: Callable[[], Kind], precision: str) -> Kind:
    """Opened again, in a precision."""
    return reopen().with_precision(precision)


def compiled(reopen: Callable[..., Kind], **placed: str) -> Kind:
    """Opened again, perhaps on another `device`, and compiled."""
    return reopen(**placed).compiled()


def reopened(reopen: Callable[[], Kind], spec: str, device: str, expected: str, compiles: bool) -> Kind:
    """The encoder of a pickle: the one that this process has opened for an earlier pickle, as long as that is used."""
    known: Kind | None = _HERE.get((spec, device, expected, compiles))
    if known is not None:
        return known
    encoder = reopen()
    if encoder.fingerprint != expected:
        raise OpenMofiError(
            f"The encoder {encoder.spec!r} is not the same in this process: its fingerprint is "
            f"{encoder.fingerprint}, not {expected}.",
            "Put the same checkpoint on every machine, and leave it unchanged while a job runs.",
        )
    _HERE[spec, device, expected, compiles] = encoder
    return encoder

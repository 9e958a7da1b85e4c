"""How an encoder comes out of a pickle: it is opened again, once a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from openmofi.errors import OpenMofiError

if TYPE_CHECKING:
    from openmofi.encoders.encoder import Encoder

_HERE: WeakValueDictionary[tuple[str, str, str, bool], Encoder] = WeakValueDictionary()


def in_precision(reopen: Callable[[], Encoder], precision: str) -> Encoder:
    """Opened again, in a precision."""
    return reopen().with_precision(precision)


def compiled(reopen: Callable[..., Encoder], **placed: str) -> Encoder:
    """Opened again, perhaps on another `device`, and compiled."""
    return reopen(**placed).compiled()


def reopened(reopen: Callable[[], Encoder], spec: str, device: str, expected: str, compiles: bool) -> Encoder:
    """The encoder of a pickle: the one that this process has opened for an earlier pickle, as long as that is used."""
    if known := _HERE.get((spec, device, expected, compiles)):
        return known
    encoder = reopen()
    if encoder.fingerprint != expected:
        raise OpenMofiError(f"The encoder {encoder.spec!r} is not the same in this process: its fingerprint is "
                            f"{encoder.fingerprint}, not {expected}.",
                            "Put the same checkpoint on every machine, and leave it unchanged while a job runs.")
    _HERE[spec, device, expected, compiles] = encoder
    return encoder

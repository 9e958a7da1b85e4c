"""Processes that make the batches of a run, and how these reach the trainer: as one tensor each.

Each tensor that a process hands to another costs a file, a mapping and a greeting between the two, more than the copy
of a small one. On a CPU, which the trainer shares with its workers, each of these makes its share of every batch: one
that made a whole batch would hold up one of the trainer's threads, and the others wait for that one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from openmofi.errors import OpenMofiError
from openmofi.training.data.plan import Refused

if TYPE_CHECKING:
    from openmofi.objectives.protocol import Batch

Made = tuple["Batch", Refused]
"""A batch, or a share of one, and its rows whose images cannot be decoded."""
Make = Callable[[int, int, int], Made]
"""Makes the share `rank` of `world` equal ones of the batch of a step; picklable."""

_PREFETCH = 2
_LEAST_SHARE = 32
"""Rows below which a share costs more than it is worth."""
_ALIGNED = 64
_Layout = Sequence[tuple[str, torch.dtype, Sequence[int], int]]


def made_by_workers(make: Make, steps: range, rank: int, world: int, workers: int, size: int) -> Generator[Made]:
    """A rank's share of the batches of `steps`, in order, the same to the bit for any number of workers.

    Args:
        make: see `Make`.
        steps: consecutive.
        rank, world: of the trainer.
        workers: processes; 0 makes batches here.
        size: rows of the rank's share.

    Raises:
        OpenMofiError: what `make` raised.
    """
    shares = 1 if torch.cuda.is_available() else max(1, min(workers, size // _LEAST_SHARE))
    more = {"prefetch_factor": _PREFETCH, "multiprocessing_context": _context()} if workers else {}
    # A generator of its own: the loader would draw from the trainer's random numbers, and dropout would differ
    # after a resume.
    loader: DataLoader[Any] = DataLoader(
        cast("Dataset[int]", range(steps.start * shares, steps.stop * shares)),
        batch_size=None,
        collate_fn=partial(_share, make, rank, world, shares, bool(workers)),
        num_workers=workers,
        worker_init_fn=_begin_worker,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
        **more,
    )
    results = iter(loader)
    waiting: list[Made] = []
    try:
        for made in results:
            if isinstance(made, OpenMofiError):
                raise made
            waiting.append((unpacked(*made[0]), made[1]) if workers else made)
            if len(waiting) == shares:
                yield joined(waiting)
                waiting = []
    finally:
        # Ends the workers now instead of at garbage collection.
        del results, loader


def _share(make: Make, rank: int, world: int, shares: int, travels: bool, number: int) -> Any:
    step, share = divmod(number, shares)
    try:
        batch, refused = make(step, rank * shares + share, world * shares)
    except OpenMofiError as error:
        # As a value: torch would wrap the worker's trace around the sentence that a user needs.
        return error
    return (packed(batch) if travels else batch), refused


def packed(batch: Batch) -> tuple[Tensor, _Layout]:
    """Pack the tensors of a batch into one of bytes; return it and each one's name, type, shape and first byte."""
    layout: list[tuple[str, torch.dtype, Sequence[int], int]] = []
    size = 0
    for name, values in batch.items():
        layout.append((name, values.dtype, tuple(values.shape), size))
        size += -(-values.nbytes // _ALIGNED) * _ALIGNED
    whole = torch.empty(size, dtype=torch.uint8)
    for (_, _, _, start), values in zip(layout, batch.values(), strict=True):
        whole[start : start + values.nbytes] = values.reshape(-1).view(torch.uint8)
    return whole, layout


def unpacked(whole: Tensor, layout: _Layout) -> Batch:
    """Return the batch that `packed` packed, in the same memory."""
    batch = {}
    for name, dtype, shape, start in layout:
        size = torch.Size(shape).numel() * dtype.itemsize
        batch[name] = whole[start : start + size].view(dtype).view(*shape)
    return batch


def joined(shares: Sequence[Made]) -> Made:
    """Join consecutive shares to their batch."""
    if len(shares) == 1:
        return shares[0]
    batch = {name: torch.cat([of_share[name] for of_share, _ in shares]) for name in shares[0][0]}
    return batch, [row for _, refused in shares for row in refused]


def _context() -> Any:
    # The trainer's own process has threads (torch's, CUDA's, fsspec's) that a fork would tear: workers are forked from
    # a server that has imported what they need and nothing else.
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.loader"])
    with _deaf_to_sigterm():
        forkserver.ensure_running()
    return context


@contextmanager
def _deaf_to_sigterm() -> Generator[None]:
    """Processes that are started here do not hear SIGTERM, which schedulers send to all of a job's processes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _begin_worker(_number: int) -> None:
    # Ctrl-C and SIGTERM are the trainer's: it ends the workers when it has saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_trainer, daemon=True).start()


def _end_with_trainer() -> None:
    # Torch ends a worker whose parent is gone. The parent is the server here, which stays while it has workers: both
    # would outlive a trainer that was killed, for ever.
    trainer = multiprocessing.parent_process()
    if trainer is not None:
        trainer.join()
        os._exit(1)

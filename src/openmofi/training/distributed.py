"""Ranks: joining the process group that `torchrun` describes, spreading the towers over it; settings of the process."""

import math
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Shard
from torch.nn.parallel import DistributedDataParallel

from openmofi.encoders.devices import keep_freed_memory
from openmofi.extensions import own_part
from openmofi.objectives.collectives import max_over_ranks
from openmofi.training.recipe import RunSettings

_TIMEOUT = timedelta(minutes=30)
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Ranks:
    """The processes of a run.

    Attributes:
        rank, world: the number of this process and how many there are.
        device: where its tensors live.
        mesh: all ranks in a row; `None` where there is one process without a group.
        patient: the group in which they may wait for hours.
    """

    rank: int
    world: int
    device: torch.device
    mesh: DeviceMesh | None
    patient: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for every rank."""
        if self.mesh is not None:
            dist.barrier()

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Inside, the first rank goes ahead, to make what the others then find; it may take hours."""
        if not self.first:
            self._wait()
        yield
        if self.first:
            self._wait()

    def _wait(self) -> None:
        if self.mesh is not None:
            dist.barrier(self.patient)

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite each tensor by the first rank's."""
        if self.mesh is not None:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set on any rank."""
        return flag if self.mesh is None else bool(max_over_ranks(torch.tensor(int(flag), device=self.device)))

    def from_first(self, values: dict[str, float]) -> dict[str, float]:
        """The first rank's values, on every rank; it may take hours to find them."""
        if self.mesh is None:
            return values
        box = [values]
        dist.broadcast_object_list(box, 0, group=self.patient)
        return box[0]

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the ranks."""
        if self.mesh is not None:
            for tensor in tensors:
                dist.all_reduce(tensor)
                tensor /= self.world

    def sharded(self, local: Tensor, rows: int) -> Tensor:
        """The calling rank's rows as a part of the matrix of all ranks, split in ceil-blocks; itself alone."""
        if self.mesh is None:
            return local
        shape = torch.Size([rows, *local.shape[1:]])
        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(local, self.mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)


@contextmanager
def training_process(threads: int, *, tf32: bool = False) -> Iterator[Ranks]:
    """Set up this process for a run and join the process group of `torchrun`, as its variables (RANK …) say.

    CUDA and NCCL where there are GPUs, gloo elsewhere. A group that stands already is used and left standing; without
    one there is one process.

    Args:
        threads: of torch; 0 leaves its default.
        tf32: where there is CUDA, products of float32 matrices are computed in TF32.
    """
    keep_freed_memory(math.inf)
    if threads:
        torch.set_num_threads(threads)
    device = (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 and device.type == "cuda" else before)
    stood = dist.is_initialized()
    if not stood and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        if not dist.is_initialized():
            yield Ranks(0, 1, device, None)
        else:
            world = dist.get_world_size()
            patient = dist.new_group(backend="gloo", timeout=_PATIENCE)
            yield Ranks(dist.get_rank(), world, device, init_device_mesh(device.type, (world,)), patient)
    finally:
        torch.set_float32_matmul_precision(before)
        if not stood and dist.is_initialized():
            dist.destroy_process_group()


def spread(model: nn.Module, ranks: Ranks, run: RunSettings) -> nn.Module:
    """The towers over the ranks: replicated (DDP), or sharded block by block (FSDP2). Gradients are averaged.

    With FSDP2 the module itself is changed and returned; its parameters become DTensors.

    Raises:
        UsageError: they are to be sharded over the ranks of a node, and nodes differ.
    """
    if ranks.mesh is None or not any(parameter.requires_grad for parameter in model.parameters()):
        return model
    if run.fsdp:
        return cast("nn.Module", own_part("adapters", "shard")(model, ranks, run))
    devices = [ranks.device.index] if ranks.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices)


def averaging(model: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
    """Whether gradients of this backward pass are averaged over the ranks, with those that stayed on their rank before.

    Args:
        model: see `spread`.
        last: whether it is the last of a step's passes.
    """
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
    return model.no_sync() if isinstance(model, DistributedDataParallel) and not last else nullcontext()


def bare(model: nn.Module) -> nn.Module:
    """The towers themselves, whatever they are wrapped in."""
    return model.module if isinstance(model, DistributedDataParallel) else model


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether SIGINT or SIGTERM has arrived; a second signal ends the process at once.

    Outside the main thread signals stay as they are, since Python handles them in the main thread only.
    """
    signals: list[int] = []

    def note(number: int, _frame: Any) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        before = {}
    try:
        yield lambda: bool(signals)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

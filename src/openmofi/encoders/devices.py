"""Where and how an encoder runs: devices and precisions, how batches come to a device, how many rows it holds."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from openmofi.arrays import Array
from openmofi.encoders.preprocess import Preprocessing, byte_values
from openmofi.errors import MissingExtraError, OpenMofiError, UsageError

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)
_Items = TypeVar("_Items", bound=Any)
CUDA = "cuda"
PROVIDERS = {
    CUDA: ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime on a Mac"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml on Windows"),
}
"""Device of ONNX graphs → its execution provider in ONNX Runtime, and the package that has it; the fastest first."""
BOUND, LOW_BOUND = 1e-3, 5e-2
"""By how much the same features may differ between two ways to compute them, as part of the greatest: in fp32, and in
lower precisions."""
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Precision → torch's name of it."""


# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -2, -3, -4
_PAD_BYTES, _KEPT_BYTES = 64 << 20, 256 << 20
_kept = [0.0]


def keep_freed_memory(most: float = _KEPT_BYTES) -> bool:
    """Keep what a forward pass or a step frees on CPU for the next one, in this process.

    By default glibc returns large blocks to the system, which clears each page when it is requested again. That took a
    third of the time of a training step of a small convolutional network, and a tenth to a quarter of the processor
    time of an encoder that PyTorch runs. See mallopt(3).

    Args:
        most: bytes at the end of the heap, and twice what a block may have; infinity for all. The largest since the
            start of the process holds.

    Returns:
        Whether it was set: only where the allocator is glibc's, and `MALLOC_TRIM_THRESHOLD_` is not in the environment.
    """
    if most <= _kept[0] or sys.platform != "linux" or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        # Another C library, such as musl.
        return False
    _kept[0] = most
    if most == math.inf:
        options = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1, _M_TOP_PAD: _PAD_BYTES}
    else:
        options = {_M_MMAP_THRESHOLD: int(most) // 2, _M_TRIM_THRESHOLD: int(most)}
    return min(mallopt(option, value) for option, value in options.items()) == 1


def device_named(device: str) -> str:
    """Torch's name of a device that is there.

    Args:
        device: `cpu`, `cuda`, `cuda:1` …, another kind that this PyTorch has; `auto` is the first that is there of
            `cuda`, `mps` (Apple's), `xpu` (Intel's) and `cpu`.

    Raises:
        UsageError: there is no such device.
        MissingExtraError: it takes PyTorch, which is not installed.
    """
    if device == "cpu":
        return device
    try:
        import torch
    except ModuleNotFoundError as error:
        if device == "auto":
            return "cpu"
        raise MissingExtraError.of(error.name or "torch", "torch") from error
    if device == "auto":
        kinds = {CUDA: torch.cuda, "mps": torch.backends.mps, "xpu": torch.xpu}
        return next((name for name, kind in kinds.items() if kind.is_available()), "cpu")
    try:
        named = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"Unknown device {device!r}.", "Use auto, cpu, cuda, or cuda:1 and so on.") from error
    if named.type == CUDA:
        _require_cuda(device, named.index)
    elif named.type != "cpu":
        _require(device)
    return device


def check_device(device: str) -> None:
    """Refuse a device that neither PyTorch nor ONNX Runtime has here.

    Raises:
        UsageError, MissingExtraError: as `device_named`; or ONNX Runtime lacks the execution provider.
    """
    if device in ("auto", "cpu") or device in graph_devices():
        return
    if device in PROVIDERS and device != CUDA:
        provider, package = PROVIDERS[device]
        raise UsageError(f"This ONNX Runtime has no {provider}, which {device!r} is.", f"It takes {package}.")
    device_named(device)


def graph_devices() -> list[str]:
    """Return the devices besides the CPU for which ONNX Runtime has an execution provider here, the fastest first."""
    try:
        from onnxruntime import get_available_providers
    except ModuleNotFoundError:
        return []
    there = get_available_providers()
    return [device for device, (provider, _) in PROVIDERS.items() if provider in there]


def _require_cuda(device: str, index: int | None) -> None:
    import torch

    if not torch.cuda.is_available():
        raise UsageError(f"No CUDA device here for {device!r}.", "Use auto or cpu, or a CUDA build of PyTorch.")
    count = torch.cuda.device_count()
    if index is not None and index >= count:
        there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise UsageError(f"There is no device {device!r}: this machine has {there}.", f"Use auto, cpu or {there}.")


def _require(device: str) -> None:
    """Check that a device is there by using it, where its kind cannot be counted."""
    import torch

    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, NotImplementedError, AssertionError, ImportError) as error:
        raise UsageError(f"There is no device {device!r} here.", "Use auto, cpu, cuda, or cuda:1 and so on.") from error


def check_precision(precision: str) -> None:
    """Refuse a precision that no encoder has.

    Raises:
        UsageError: it is not among `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown value {precision!r} for precision; use {', '.join(PRECISIONS)}.")


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    """Return the context in which towers run; it does nothing for fp32."""
    if precision == "fp32":
        return nullcontext()
    import torch

    return torch.autocast(torch.device(device).type, getattr(torch, PRECISIONS[precision]))


def on_device(values: Any, device: str) -> torch.Tensor:
    """An array, or a tensor, as a tensor on a device; to CUDA by way of pinned memory, without waiting for the copy."""
    import torch

    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(values)
    if device.startswith(CUDA) and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def normalised_on(device: str, pixels: Any, settings: Preprocessing) -> torch.Tensor:
    """Normalise pixels that are bytes on a device, which quarters the copying; the bits are those of `preprocess`.

    Args:
        device: torch's name of it.
        pixels: (n, 3, size, size) uint8, see `preprocess.as_bytes`.
        settings: mean and deviation.

    Returns:
        float32 (n, 3, size, size) on the device.
    """
    import torch

    table = _byte_values_on(device, settings.mean, settings.std)
    sent = on_device(pixels, device)
    # The same table as on the CPU, and no arithmetic: nothing can be rounded in another way.
    return torch.stack([table[channel][sent[:, channel].int()] for channel in range(3)], dim=1)


@cache
def _byte_values_on(device: str, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    return on_device(byte_values(mean, std), device)


@dataclass
class RowLimit:
    """How many rows of a batch a device holds; found by trying, and remembered.

    Attributes:
        rows: at most; 0 while nothing has been too much.
    """

    rows: int = 0

    def within(self, tower: Callable[[_Items], Array], items: _Items) -> Array:
        """Return a tower's output for a batch; in parts where the device has too little memory, down to one item.

        Raises:
            OpenMofiError: one item is too much.
        """
        parts, start = list[Array](), 0
        while start < len(items) or not parts:
            part = items[start : start + self.rows] if self.rows else items
            try:
                parts.append(tower(part))
                start += max(len(part), 1)
            except RuntimeError as error:
                # By its name: encoders of an array's functions need no torch.
                if type(error).__name__ != "OutOfMemoryError":
                    raise
                if len(part) < 2:
                    raise OpenMofiError(
                        "The device has too little memory for a batch of one.",
                        "End what else runs on it, or use --device cpu, --precision bf16, or a smaller encoder.",
                    ) from error
                self._halve(len(part))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _halve(self, rows: int) -> None:
        self.rows = max(1, rows // 2)
        _log.warning(
            "The device has too little memory for a batch of %d; batches are of %d from now on.", rows, self.rows
        )

"""Checkpoints of a run: written by all ranks together, whole or not at all, and read back on any number of ranks.

`RUN/checkpoints/step-00001000/` is a checkpoint of `torch.distributed.checkpoint` with a `state.json` beside its files.
Reading one runs no code, whoever made it (`checkpoint_index.py`).
"""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.futures import Future

from openmofi.errors import OpenMofiError
from openmofi.storage import read_json, write_json
from openmofi.storage.foreign import guarded
from openmofi.storage.foreign.pickles import PickleRefused, restricted_unpickle
from openmofi.training.recipe import EVALUATION_METRICS
from openmofi.training.state import RunState

# PyTorch keeps its index as a pickle and loads it as one, which may call any function. Here its classes are stood for
# by records, whose values are checked before they become PyTorch's own.

_FILE = re.compile(r"__\d+_\d+\.distcp")
_MODULE = "torch.distributed.checkpoint"


class _Record:
    """Stands for an instance: what it was made of, and its state."""

    def __new__(cls, *arguments: Any) -> _Record:
        record = super().__new__(cls)
        record.arguments, record.state = arguments, {}
        return record

    arguments: tuple[Any, ...]
    state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state


_RECORDS = (
    *(
        f"{_MODULE}.metadata.{name}"
        for name in (
            "Metadata",
            "TensorStorageMetadata",
            "TensorProperties",
            "ChunkStorageMetadata",
            "MetadataIndex",
            "StorageMeta",
            "_MEM_FORMAT_ENCODING",
        )
    ),
    f"{_MODULE}.filesystem._StorageInfo",
    "torch.Size",
    "torch.serialization._get_layout",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
)
_STAND_INS = dict.fromkeys(_RECORDS, _Record) | {
    str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)
}


class CheckpointReader(dcp.FileSystemReader):
    """PyTorch's reader of a folder, with an index that is data alone.

    The tensors themselves are read by PyTorch with `weights_only`, which the guard makes sure of.
    """

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """See PyTorch."""
        with guarded(f"The checkpoint {self.path}"):
            return super().read_data(plan, planner)

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        """Read the index.

        Raises:
            PickleRefused: it holds anything but tensors and their places in the checkpoint's own files.
            OSError: it cannot be read.
        """
        metadata = read_index(Path(self.path) / ".metadata")
        metadata.storage_meta = StorageMeta(load_id=self.load_id)
        return metadata


def read_index(path: Path) -> Metadata:
    """The index at `path`; see `CheckpointReader.read_metadata`."""
    raw = restricted_unpickle(path.read_bytes(), _STAND_INS)
    try:
        state = raw.state
        tensors = {_text(name): _tensor(entry) for name, entry in state["state_dict_metadata"].items()}
        locations = {_index(index): _location(info) for index, info in state["storage_data"].items()}
    except (AttributeError, KeyError, TypeError, IndexError, ValueError) as error:
        raise PickleRefused(f"it is no index of tensors ({error})") from error
    return Metadata(tensors, None, locations, version=state.get("version"))  # type: ignore[arg-type]


def _tensor(entry: _Record) -> TensorStorageMetadata:
    dtype = entry.state["properties"].state[0]
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"{dtype!r} is no number type")
    chunks = [
        ChunkStorageMetadata(_size(chunk.state["offsets"]), _size(chunk.state["sizes"]))
        for chunk in entry.state["chunks"]
    ]
    return TensorStorageMetadata(TensorProperties(dtype=dtype), _size(entry.state["size"]), chunks)


def _index(record: _Record) -> MetadataIndex:
    offset, index = record.state.get("offset"), record.state.get("index")
    return MetadataIndex(
        _text(record.state["fqn"]), None if offset is None else _size(offset), None if index is None else _count(index)
    )


def _location(record: _Record) -> _StorageInfo:
    name = _text(record.state["relative_path"])
    if not _FILE.fullmatch(name) or record.state.get("transform_descriptors"):
        raise PickleRefused(f"it refers to {name!r}")
    return _StorageInfo(name, _count(record.state["offset"]), _count(record.state["length"]))


def _size(record: _Record) -> torch.Size:
    return torch.Size([_count(value) for value in record.arguments[0]])


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no name")
    return value


_NAME = re.compile(r"step-(\d{8,})")
_STATE = "state.json"
_BEST = "best.json"
_NO_ROOM = 1 << 16


@dataclass(frozen=True)
class Progressed:
    """How far a run is.

    Attributes:
        step: optimiser steps done; also the loader's position, since the step alone decides a batch.
        metrics: means since the checkpoint before, and what evaluators measured at this step.
        best: value of the recipe's metric in the best checkpoint so far, and its step.
    """

    step: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    best: tuple[float, int] | None = None


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: `RUN/checkpoints`.
        keep: how many of the last ones stay; the best stays besides.
        best: metric by which one is the best; see `RunSettings.best`.
    """

    def __init__(self, folder: Path, *, keep: int, best: str) -> None:
        self.folder, self._keep, self._metric = folder, keep, best.removeprefix("-")
        _, more_is_better = EVALUATION_METRICS.get(self._metric, ("", not best.startswith("-")))
        self._sign = 1.0 if more_is_better else -1.0

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        names = (_NAME.fullmatch(path.name) for path in self.folder.glob("step-*"))
        return sorted(int(match[1]) for match in names if match)

    def latest(self, *, resume: bool) -> int:
        """Step of the latest checkpoint, 0 without one.

        Raises:
            OpenMofiError: there is one, and `resume` is not set.
        """
        step = self.steps()[-1] if self.steps() else 0
        if step and not resume:
            raise OpenMofiError(
                f"{self.folder.parent} holds a run that was stopped at step {step}.",
                "Add --resume to go on, --restart to begin anew, or choose another output with -o.",
            )
        return step

    def best(self, progressed: Progressed) -> dict[str, Any] | None:
        """`metric`, `value` and `step` of the best checkpoint of a run that is this far, if it has one."""
        best = progressed.best
        return None if best is None else {"metric": self._metric, "value": best[0], "step": best[1]}

    def path(self, step: int) -> Path:
        """Folder of a step's checkpoint."""
        return self.folder / f"step-{step:08d}"

    def save(self, state: RunState, progressed: Progressed) -> Progressed:
        """Write a checkpoint and remove what is no longer kept. Every rank calls it.

        Returns `progressed` with the best checkpoint as it is now.

        Raises:
            OpenMofiError: it could not be written (the disk is full, say); the checkpoints before are untouched.
        """
        ranks = state.ranks
        path, temporary = self.path(progressed.step), self.folder / ".writing"
        value, best = progressed.metrics.get(self._metric), progressed.best
        if value is not None and (best is None or self._sign * value > self._sign * best[0]):
            progressed = replace(progressed, best=(value, progressed.step))
        state.settle()
        try:
            if ranks.first:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
            ranks.barrier()
            # It warns that there is one process, which `no_dist` says.
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                dcp.save(state.tensors(), checkpoint_id=temporary, no_dist=ranks.mesh is None)
            if ranks.first:
                write_json(temporary / _STATE, asdict(progressed))
        except (Exception, CheckpointException) as error:
            # torch's own message does not name a full disk.
            full = self.folder.is_dir() and shutil.disk_usage(self.folder).free < _NO_ROOM
            reason = "the disk is full." if full else _reason(error)
            if ranks.first:
                shutil.rmtree(temporary, ignore_errors=True)
            raise OpenMofiError(
                f"The checkpoint {path} could not be written: {reason}",
                "Free some room and use --resume; earlier checkpoints are kept.",
            ) from error
        if ranks.first:
            shutil.rmtree(path, ignore_errors=True)
            temporary.replace(path)
            self.tidy(progressed)
        ranks.barrier()
        return progressed

    def load(self, state: RunState, step: int) -> Progressed:
        """Read a checkpoint into `state`, whatever the number of ranks that wrote it.

        Raises:
            OpenMofiError: it is damaged, or holds other tensors than the run has.
        """
        path = self.path(step)
        try:
            reader = CheckpointReader(path)
            stored: dict[str, Any] = reader.read_metadata().state_dict_metadata
            state.prepare(stored)
            tensors = state.tensors()
            if set(tensors) != set(stored):
                differing = sorted(set(tensors) ^ set(stored))
                raise OpenMofiError(
                    f"The checkpoint {path} does not fit the recipe: {differing[0]} and "
                    f"{len(differing) - 1} more differ.",
                    "Resume with the recipe of the run.",
                )
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                dcp.load(tensors, storage_reader=reader, no_dist=state.ranks.mesh is None)
            state.load(tensors)
            return read_json(path / _STATE, Progressed, "Remove its folder; --resume then takes the one before.")
        except OpenMofiError:
            raise
        except PickleRefused as error:
            raise OpenMofiError(
                f"The index of the checkpoint {path} is refused: {error}.",
                "It may hold code and is none that this run has written: remove its folder.",
            ) from error
        except (Exception, CheckpointException) as error:
            raise OpenMofiError(
                f"The checkpoint {path} cannot be read: {_reason(error)}",
                "Remove its folder; --resume then takes the one before.",
            ) from error

    def tidy(self, progressed: Progressed) -> None:
        """Write which checkpoint is the best, and remove what is no longer kept; for a run that is this far.

        A run that was killed right after its last checkpoint appeared has still to do it when it is resumed.
        """
        if best := self.best(progressed):
            write_json(self.folder / _BEST, best)
        for step in self.steps()[: -self._keep]:
            if best is None or step != best["step"]:
                shutil.rmtree(self.path(step))


def _reason(error: BaseException) -> str:
    """One line of what went wrong on the first rank that failed, which torch wraps as no `Exception`."""
    while isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    if isinstance(error, KeyboardInterrupt):
        raise error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{lines[0].removesuffix('.') if lines else type(error).__name__}."

"""Checkpoints of a run: written by all ranks together, whole or not at all, and read back on any number of ranks.

`RUN/checkpoints/step-00001000/` is a checkpoint of `torch.distributed.checkpoint` with a `state.json` beside its files.
Reading one runs no code, whoever made it.
"""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
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
from openmofi.training.recipe import EVALUATION_METRICS
from openmofi.training.state import RunState

_REMOVE = "Remove its folder; --resume then takes the one before."
_DTYPES = {str(value).removeprefix("torch."): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
_INDEX = "index.json"
"""Stands for PyTorch's own index, which is a pickle, and which any function may be called by."""

_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Chunk(msgspec.Struct, forbid_unknown_fields=True):
    """A part of a tensor, and the bytes of a file that hold it."""

    offsets: list[_Count]
    sizes: list[_Count]
    file: Annotated[str, msgspec.Meta(pattern=r"\A__\d+_\d+\.distcp\Z")]
    offset: _Count
    length: _Count


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    """A tensor."""

    name: str
    dtype: str
    size: list[_Count]
    chunks: list[_Chunk]


def write_index(folder: Path, metadata: Metadata) -> None:
    """Write which tensors a checkpoint holds, in their order, and where; see `CheckpointReader`.

    Args:
        folder: of the checkpoint.
        metadata: as PyTorch returns it when it has written one.
    """
    saved = [
        _Saved(
            name,
            str(entry.properties.dtype).removeprefix("torch."),
            list(entry.size),
            [
                _Chunk(list(chunk.offsets), list(chunk.sizes), place.relative_path, place.offset, place.length)
                for chunk in entry.chunks
                for place in [metadata.storage_data[MetadataIndex(name, chunk.offsets)]]
            ],
        )
        for name, entry in metadata.state_dict_metadata.items()
        if isinstance(entry, TensorStorageMetadata)
    ]
    write_json(folder / _INDEX, msgspec.to_builtins(saved))


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
            OpenMofiError: it cannot be read, or holds anything but tensors and their places in the checkpoint's files.
        """
        tensors: dict[str, TensorStorageMetadata] = {}
        places: dict[MetadataIndex, _StorageInfo] = {}
        for saved in read_json(Path(self.path) / _INDEX, list[_Saved], _REMOVE):
            chunks = [ChunkStorageMetadata(torch.Size(each.offsets), torch.Size(each.sizes)) for each in saved.chunks]
            properties = TensorProperties(dtype=_DTYPES[saved.dtype])
            tensors[saved.name] = TensorStorageMetadata(properties, torch.Size(saved.size), chunks)
            for chunk, each in zip(chunks, saved.chunks, strict=True):
                places[MetadataIndex(saved.name, chunk.offsets)] = _StorageInfo(each.file, each.offset, each.length)
        return Metadata(tensors, None, places, StorageMeta(load_id=self.load_id))  # type: ignore[arg-type]


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
                metadata = dcp.save(state.tensors(), checkpoint_id=temporary, no_dist=ranks.mesh is None)
            if ranks.first:
                write_index(temporary, metadata)
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
            return read_json(path / _STATE, Progressed, _REMOVE)
        except OpenMofiError:
            raise
        except (Exception, CheckpointException) as error:
            raise OpenMofiError(
                f"The checkpoint {path} cannot be read: {_reason(error)}",
                _REMOVE,
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

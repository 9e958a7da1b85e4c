"""The index of a checkpoint (`.metadata` of `torch.distributed.checkpoint`), read without running code.

PyTorch keeps its index as a pickle and loads it as one, which may call any function. Here its classes are stood for by
records, whose values are checked before they become PyTorch's own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
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

from openmofi.storage.foreign import guarded
from openmofi.storage.pickles import PickleRefused, restricted_unpickle

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
        """The index.

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
        places = {_index(index): _place(info) for index, info in state["storage_data"].items()}
    except (AttributeError, KeyError, TypeError, IndexError, ValueError) as error:
        raise PickleRefused(f"it is no index of tensors ({error})") from error
    return Metadata(tensors, None, places, version=state.get("version"))  # type: ignore[arg-type]


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


def _place(record: _Record) -> _StorageInfo:
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

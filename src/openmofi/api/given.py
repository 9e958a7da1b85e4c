"""What callers of the front door give: names or objects, one or several; and what is said of parameters they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from openmofi.config import with_settings

if TYPE_CHECKING:
    from openmofi.encoders import Encoder, EncoderLike
    from openmofi.engine import Progress
    from openmofi.knowledge import KnowledgeBase
    from openmofi.review.verdicts import Verdicts
    from openmofi.storage import Shard

Pairs = str | Path | Sequence[str | Path]
"""Shards: a tar, a Parquet file, a folder, a glob, a range such as `pairs-{000..099}.tar`, a URL; or several."""


class Tabular(Protocol):
    """A data frame of pandas or polars, a table of PyArrow, or what else Arrow reads."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


class Batched(Protocol):
    """A `Dataset` or `IterableDataset` of Hugging Face's `datasets`."""

    def with_format(self, type: str) -> Any:
        """Return the dataset with its rows in a format."""

    def iter(self, batch_size: int) -> Iterator[Any]:
        """Iterate over batches of rows."""


PairsLike = Pairs | Sequence[tuple[Any, str]] | Tabular | Batched
"""Pairs, or those that a program holds: a table, dataset or list of (image, text); see `openmofi.api.in_memory`."""

Folder = str | Path

public = partial(
    with_settings,
    shared={
        "pairs": "tar or Parquet shards, folders, globs, ranges such as `pairs-{000..099}.tar`, URLs.",
        "kb": "knowledge base: its folder or its address. In Python also a `KnowledgeBase`.",
        "encoder": "`open_clip:ARCH/PRETRAINED`, `hf:PATH-OR-ID`, `mofi:PATH-OR-ID`, `timm:NAME`, `run:PATH`, "
        "`onnx:PATH`, `openvino:PATH`; see docs/encoders.md. In Python also an `Encoder`, or one of your own (see "
        "`openmofi.encoders.as_encoder`).",
        "settings": "all settings at once; keywords change single ones.",
        "cache": "folder that keeps links, features and entity embeddings, shared by jobs; the output where not given.",
        "device": "of the encoder: `cpu`, `cuda`, `cuda:1`, `mps`, `xpu` …, of ONNX graphs also `coreml`, `openvino`, "
        "`directml`; `auto` is the fastest that is there.",
        "precision": "of the encoder's towers: `fp32`, `bf16` or `fp16`; embeddings are float32 in any case.",
        "engine": "`auto` chooses by device, pairs and cores; `local`, `processes:N`, `ray` or `ray:ADDRESS`; "
        "`ray?gpus=0.5&cpus=2` reserves for an actor. See docs/scale.md.",
        "licence": "for the card: the licence by its name on the hub, such as `apache-2.0`.",
        "private": "a repository that `push` makes is private.",
        "restart": "remove what was written into the output before, and begin anew, instead of going on.",
        "progress": "`True` draws it anywhere, `False` nowhere, `None` on a terminal and in a notebook; an object with "
        "`openmofi.engine.Progress`'s methods is called instead.",
    },
)
"""Completes a function of the front door: see `openmofi.config.options.with_settings`."""


def shards_of(pairs: Pairs) -> Sequence[Shard]:
    """The shards that were named.

    Raises:
        UsageError, OpenMofiError: see `openmofi.storage.expand_shards`.
    """
    from openmofi.storage import expand_shards

    return expand_shards([str(pattern) for pattern in ([pairs] if isinstance(pairs, str | Path) else pairs)])


def kb_of(kb: KnowledgeBase | Folder, progress: Progress | None = None) -> KnowledgeBase:
    """The knowledge base, opened where its folder was given.

    Raises:
        OpenMofiError: see `KnowledgeBase.open`.
    """
    from openmofi.knowledge.store import opened

    return opened(kb, progress)


def names_index(given: Any) -> bool:
    """Whether it is a folder, also in a store, or a server's address: where verdicts are read, that of an index."""
    from openmofi.search.store.connection import is_server
    from openmofi.storage.addresses import filesystem_of, in_object_store, is_folder, is_remote, store_errors

    with suppress(OSError, ValueError), store_errors(given):  # who reads it says what is wrong
        return is_server(given) or (
            (in_object_store(given) or not is_remote(given)) and is_folder(*filesystem_of(given))
        )
    return False


def verdicts_of(given: Any) -> Verdicts:
    """Verdicts of a file, or those that an index holds where its folder or address was given, also in a store.

    Raises:
        OpenMofiError: see `openmofi.review.verdicts.read_verdicts`, or the folder is no index.
    """
    from openmofi.review.verdicts import read_verdicts, verdicts_of_table

    if not names_index(given):
        return read_verdicts(given)
    from openmofi.search import Index
    from openmofi.search.store.database import address_of

    index = Index.open(given)
    return verdicts_of_table(index.verdict_table(), address_of(index.path))


def check_placement(device: str, precision: str) -> None:
    """Refuse a device that is not there, or an unknown precision, before any work.

    Raises:
        UsageError, MissingExtraError: see `openmofi.encoders.devices.device_named`.
    """
    from openmofi.encoders.devices import check_device, check_precision

    check_precision(precision)
    check_device(device)


def encoder_of(encoder: EncoderLike, device: str = "auto", precision: str = "fp32") -> Encoder:
    """The encoder, opened where its spec was given; `device` and `precision` are of that one alone.

    Raises:
        UsageError, OpenMofiError: see `openmofi.encoders.open_encoder`.
    """
    from openmofi.encoders import as_encoder, open_encoder

    if isinstance(encoder, str):
        return open_encoder(encoder, device=device, precision=precision)
    return as_encoder(encoder)


def place_of(value: Any) -> str | Path:
    """Where a folder lies that was given as a path, an address or an object with a `path`."""
    from openmofi.storage.addresses import is_remote

    address = value if isinstance(value, str | Path) else value.path
    return str(address) if is_remote(address) else Path(address)

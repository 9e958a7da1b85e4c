"""Tars member by member, for the tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from openmofi.errors import OpenMofiError
from openmofi.pairs import ReadSettings, read_pairs
from openmofi.schema import Pair
from openmofi.storage import Shard

Members = Iterable[tuple[str, bytes | tarfile.TarInfo]]


def tar_bytes(members: Members, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=tarfile.GNU_FORMAT) as archive:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return out.getvalue()


def read_bytes(folder: Path, content: bytes, name: str = "x.tar", **settings: object) -> list[Pair]:
    (folder / name).write_bytes(content)
    return list(read_pairs(Shard(str(folder / name), "x"), ReadSettings(**settings)))


def pairs_and_error(
    folder: Path, content: bytes, name: str = "x.tar", **settings: object
) -> tuple[list[Pair], OpenMofiError | None]:
    """The pairs that come, and the error that ends them."""
    (folder / name).write_bytes(content)
    return pairs_until_error(folder / name, **settings)


def pairs_until_error(place: Path, **settings: object) -> tuple[list[Pair], OpenMofiError | None]:
    """The pairs that come, and the error that ends them."""
    pairs: list[Pair] = []
    try:
        for pair in read_pairs(Shard(str(place), "x"), ReadSettings(**settings)):
            pairs.append(pair)
    except OpenMofiError as error:
        return pairs, error
    return pairs, None


def read(folder: Path, members: Members, **settings: object) -> list[Pair]:
    return read_bytes(folder, tar_bytes(members), **settings)

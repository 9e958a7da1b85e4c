"""Which shards a folder stands for, by how other tools lay folders out.

| layout | shards |
|---|---|
| tars or Parquet files, with img2dataset's logs beside them | each of these, without the logs |
| img2dataset's `files`: `00000/`, `00000.parquet`, `00000_stats.json` | each folder of images and texts |
| COCO: `annotations/captions_*.json`, and images beside `annotations/` | each file of captions |
| a repository, or an image folder: `data/*.parquet`, `train/metadata.jsonl` | the files, or folders with a table |
| anything else | the folder itself |
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from openmofi.storage.digests import TABLES

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
ENDINGS = (*TARS, ".parquet", *TABLES)
_USUAL = tuple(f"{name}{ending}" for name in ("metadata", "captions") for ending in TABLES)
_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic")
_STATISTICS = "_stats.json"
_CAPTIONS = "captions_*.json"


def base(name: str) -> str:
    """The last part of a path."""
    return name.rstrip("/").rpartition("/")[2]


def stem(name: str) -> str:
    """The same without the ending of a shard."""
    last = base(name)
    ending = max((end for end in ENDINGS if last.endswith(end)), key=len, default="")
    return last.removesuffix(ending)


def readable(names: Sequence[str]) -> list[str]:
    """The shards among files: not hidden (half-written) ones, nor img2dataset's logs, which are named as a tar or a
    folder of images.
    """
    visible = sorted(name for name in names if not base(name).startswith("."))
    logged = {stem(name) for name in visible if name.endswith(TARS)} | {base(name) for name in _parts(visible)}
    return [name for name in visible if name.endswith(TARS) or (name.endswith(".parquet") and stem(name) not in logged)]


def shards_in(filesystem: Any, path: str) -> list[str]:
    """Return the shards that a folder stands for; none where it is empty.

    Raises:
        OSError: it cannot be listed.
    """
    inside = sorted(_inside(filesystem, path))
    if found := readable(inside):
        return found
    if parts := _parts(inside):
        return parts
    if any(name.lower().endswith((*TABLES, *_IMAGES)) for name in inside):
        return [path]
    # Whether a name with a dot is a folder is not asked, which of a hundred thousand files would take long.
    for folder in (name for name in inside if "." not in base(name) and filesystem.isdir(name)):
        below = _inside(filesystem, folder)
        if base(folder) == "annotations":
            found += sorted(name for name in below if fnmatchcase(base(name), _CAPTIONS))
        elif nested := readable(below):
            found += nested
        elif not {*_USUAL}.isdisjoint(map(base, below)):
            found.append(folder)
    return found or ([path] if inside else [])


def _parts(inside: Sequence[str]) -> list[str]:
    """Folders that img2dataset wrote, among the names in a folder."""
    names = set(map(base, inside))
    return [name for name in inside if f"{base(name)}{_STATISTICS}" in names]


def _inside(filesystem: Any, path: str) -> list[str]:
    return [name.rstrip("/") for name in filesystem.ls(path, detail=False)]

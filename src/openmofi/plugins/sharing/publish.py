"""Publishes a knowledge base: a tar archive in compressed parts, a description with digests, a card."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from openmofi.engine import Progress, Quiet
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase, layout
from openmofi.knowledge.beside import ATTRIBUTION
from openmofi.knowledge.store import opened
from openmofi.plugins.sharing.description import DESCRIPTION, FORMAT, Part, PublishedBase, PublishedFile, part_name
from openmofi.storage import (
    MANIFEST,
    Outputs,
    atomic_path,
    claimed,
    file_digest,
    filesystem_of,
    fingerprint,
    finish_manifest,
    is_remote,
    remove_leftovers,
    write_error,
    write_json,
    write_text,
)
from openmofi.storage.addresses import local_path, store_errors
from openmofi.storage.atomic import temporary_folder
from openmofi.storage.digests import BLOCK

KIND = "published_base"
CARD = "README.md"
PART_SIZE = 1 << 30
_OUTPUTS = Outputs((DESCRIPTION, CARD, "part-*.tar.zst"))
_LEVEL = 3


def publish_kb(
    kb: KnowledgeBase | str | Path,
    out: str | Path,
    *,
    licence: str = "",
    part_size: int = PART_SIZE,
    restart: bool = False,
    progress: Progress | None = None,
) -> PublishedBase:
    """Write a knowledge base as an archive that `fetch_kb` reads; `base.json` is written last.

    A job that was stopped continues with the missing parts. The same base gives the same bytes, with the same versions
    of OpenMOFI and pyarrow.

    Args:
        kb: a knowledge base, or its folder or address.
        out: a local folder, or an address in a store of objects.
        licence: of the base, such as `CC-BY-SA-4.0`.
        part_size: bytes of content in a part, before compression.
        restart: remove what was published in `out` before, and begin anew.
        progress: receives the blocks of the base.

    Raises:
        OpenMofiError: `kb` is no whole knowledge base, or changes meanwhile; `out` contains something else, is being
            written by another process with other settings, or cannot be written.
    """
    progress = progress or Quiet()
    source = opened(kb, progress)
    settings = {"licence": licence, "part_size": part_size}
    inputs = {"knowledge_base": fingerprint([source.fingerprint, source.manifest.counts[layout.DIGESTS]])}
    with claimed(out, KIND, settings, inputs, outputs=_OUTPUTS, restart=restart, stores=True) as manifest:
        remove_leftovers(out)  # a claim keeps them where the job has finished before
        files = list[PublishedFile]()
        with _workplace(out) as folder:
            parts = list(_written(_tar(source, files, progress), part_size, folder, str(out)))
        base = _described(source, licence, files, parts)
        write_text(f"{out}/{CARD}", _card(base))
        write_json(f"{out}/{DESCRIPTION}", asdict(base))
        finish_manifest(out, manifest, base.counts | {"parts": len(parts)})
    return base


def _workplace(out: str | Path) -> AbstractContextManager[str | Path]:
    return tempfile.TemporaryDirectory() if is_remote(out) else temporary_folder(local_path(out))


def _tar(kb: KnowledgeBase, files: list[PublishedFile], progress: Progress) -> Iterator[bytes]:
    """Yield a tar archive of the base in blocks, and add each file to `files` once its content was yielded.

    Raises:
        OpenMofiError: a file cannot be read, or is not what the base's manifest says.
    """
    digests = {name: digest for name, digest in kb.manifest.counts[layout.DIGESTS].items() if name != MANIFEST}
    paths = {name: kb.path / name for name in sorted((*digests, ATTRIBUTION, MANIFEST))}
    sizes = {name: path.stat().st_size for name, path in paths.items() if name in digests or path.is_file()}
    progress.begin("publish", sum(-(-size // BLOCK) for size in sizes.values()))
    position = 0
    for name, size in sizes.items():
        header = tarfile.TarInfo(name)
        header.size = size
        yield header.tobuf(tarfile.USTAR_FORMAT)
        digest = hashlib.blake2b(digest_size=16)
        for block in _blocks(paths[name], size):
            digest.update(block)
            yield block
            progress.advance({})
        if digest.hexdigest() != digests.get(name, digest.hexdigest()):
            raise _changed(paths[name])
        files.append(PublishedFile(name, position + tarfile.BLOCKSIZE, size, digest.hexdigest()))
        padding = -size % tarfile.BLOCKSIZE
        yield bytes(padding)
        position += tarfile.BLOCKSIZE + size + padding
    yield bytes(2 * tarfile.BLOCKSIZE)


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    try:
        with open(path, "rb") as handle:
            for start in range(0, size, BLOCK):
                block = handle.read(BLOCK)
                if len(block) != min(BLOCK, size - start):
                    raise _changed(path)
                yield block
    except OSError as error:
        raise OpenMofiError(f"{path} cannot be read: {error.strerror or error}.", "Check the disk.") from error


def _changed(path: Path) -> OpenMofiError:
    return OpenMofiError(f"{path} has changed while it was published.", "Start the same command again.")


def _written(blocks: Iterable[bytes], size: int, folder: str | Path, out: str) -> Iterator[Part]:
    """Write blocks as parts of `size` bytes each into `out`, and yield the parts; `folder` gets temporary files."""
    packing = _Packing(Path(folder), 0, out)
    for block in blocks:
        while block:
            block = block[packing.add(block[: size - packing.content]) :]
            if packing.content == size:
                yield packing.stored()
                packing = _Packing(Path(folder), packing.number + 1, out)
    if packing.content:
        yield packing.stored()


class _Packing:
    """A part that is being compressed into a temporary file; each block is a frame of its own."""

    def __init__(self, folder: Path, number: int, out: str) -> None:
        self.number, self.content = number, 0
        self._path, self._out = folder / f"part-{number}", out
        self._digest, self._codec = hashlib.blake2b(digest_size=16), pa.Codec("zstd", _LEVEL)

    def add(self, block: bytes) -> int:
        """Compress a block and return its length."""
        frame = self._codec.compress(block, asbytes=True)
        try:
            with open(self._path, "ab") as file:
                file.write(frame)
        except OSError as error:
            raise write_error(error, self._path) from error
        self._digest.update(frame)
        self.content += len(block)
        return len(block)

    def stored(self) -> Part:
        """Write the part to its place, unless it is there."""
        digest, size = self._digest.hexdigest(), self._path.stat().st_size
        part = Part(part_name(self.number, digest), size, digest, self.content)
        target = f"{self._out}/{part.name}"
        if _is_there(target, part):
            self._path.unlink()
        else:
            with atomic_path(target) as temporary:
                self._path.replace(temporary)
        return part


def _is_there(path: str, part: Part) -> bool:
    """Whether a part is in its place; of a store its size is compared, of a local file its digest, too."""
    filesystem, name = filesystem_of(path)
    with store_errors(path):
        if not filesystem.exists(name) or filesystem.size(name) != part.size:
            return False
    return is_remote(path) or file_digest(local_path(path)) == part.digest


def _described(kb: KnowledgeBase, licence: str, files: list[PublishedFile], parts: list[Part]) -> PublishedBase:
    counts, attribution = kb.manifest.counts, kb.path / ATTRIBUTION
    return PublishedBase(
        format=FORMAT,
        kb_version=kb.manifest.schema_version,
        fingerprint=kb.fingerprint,
        licence=licence,
        attribution=attribution.read_text("utf-8") if attribution.is_file() else "",
        counts={name: count for name, count in counts.items() if isinstance(count, int)},
        languages=list(counts.get("languages", ())),
        sources=sorted(kb.manifest.inputs),
        made_with=kb.manifest.versions.get("openmofi", ""),
        files=files,
        parts=parts,
    )


def _card(base: PublishedBase) -> str:
    """Return the page that people read before they fetch the base."""
    packed, content = (sum(sizes) for sizes in zip(*((part.size, part.content) for part in base.parts), strict=True))
    facts = {
        **{name.replace("_", " "): f"{count:,}" for name, count in sorted(base.counts.items())},
        "languages of names": ", ".join(base.languages) or "not recorded",
        "download": f"{packed / 2**20:,.1f} MiB, {len(base.parts)} parts",
        "on disk": f"{content / 2**20:,.1f} MiB",
        "licence": base.licence or ("see below" if base.attribution else "not stated"),
        "built from": ", ".join(base.sources),
        "built with": f"OpenMOFI {base.made_with}, schema version {base.kb_version}",
        "fingerprint": base.fingerprint,
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return f"""# A knowledge base of OpenMOFI

Entities and their names, to label image–text pairs with.

| | |
|---|---|
{table}

## Fetch it

```sh
openmofi kb fetch ADDRESS -o kb      # ADDRESS: where this page lies
```

Without OpenMOFI: `cat part-*.tar.zst | zstd -d | tar x`. `{DESCRIPTION}` has the digests of parts and files:
BLAKE2b of 16 bytes, as `b2sum -l 128` prints it.

## Sources and licences

{base.attribution or "The base has no list of its sources."}
"""

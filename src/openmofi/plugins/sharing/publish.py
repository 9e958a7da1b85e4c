"""Publishes a knowledge base: a tar archive in compressed parts, a description with digests, a card."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from openmofi.engine import Progress, Quiet
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase, layout
from openmofi.knowledge.beside import ATTRIBUTION
from openmofi.knowledge.store import opened
from openmofi.plugins.sharing.description import BASE, FORMAT, Part, PublishedBase, PublishedFile, part_name
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
PART_SIZE = 1 << 30
OUTPUTS = Outputs((BASE.description, "README.md", "part-*.tar.zst"))
_LEVEL = 3
_CARD = Path(__file__).with_name("card.md")


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
        progress: receives the files of the base.

    Raises:
        OpenMofiError: `kb` is no whole knowledge base, or changes meanwhile; `out` contains something else, is being
            written by another process with other settings, or cannot be written.
    """
    progress = progress or Quiet()
    source = opened(kb, progress)
    settings = {"licence": licence, "part_size": part_size}
    inputs = {"knowledge_base": fingerprint([source.fingerprint, source.manifest.counts[layout.DIGESTS]])}
    with claimed(out, KIND, settings, inputs, outputs=OUTPUTS, restart=restart, stores=True) as manifest:
        remove_leftovers(out)  # a claim keeps them where the job has finished before
        with temporary_folder(out) as folder:
            archive = Archive(str(out), part_size, Path(folder) / "part")
            files = archive.add(_files(source), progress)
        if KnowledgeBase.open(source.path).manifest != source.manifest:
            raise OpenMofiError(f"{source.path} has changed while it was published.", "Start the same command again.")
        base = _described(source, licence, files, archive.parts)
        write_text(f"{out}/README.md", _card(base))
        write_json(f"{out}/{BASE.description}", asdict(base))
        finish_manifest(out, manifest, base.counts | {"parts": len(base.parts)})
    return base


def _files(kb: KnowledgeBase) -> dict[str, tuple[Path, str]]:
    digests = {name: digest for name, digest in kb.manifest.counts[layout.DIGESTS].items() if name != MANIFEST}
    digests |= {name: file_digest(kb.path / name) for name in (ATTRIBUTION, MANIFEST) if (kb.path / name).is_file()}
    return {name: (kb.path / name, digest) for name, digest in digests.items()}


class Archive:
    """A file that is written as parts.

    Args:
        out: address of the folder that gets the parts.
        size: bytes of a part, before compression.
        path: a temporary file, on the disk of `out` where that is local.
    """

    def __init__(self, out: str, size: int, path: Path) -> None:
        self.parts: list[Part] = []
        self._out, self._size, self._path = out, size, path
        self._content = 0
        self._codec, self._digest = pa.Codec("zstd", _LEVEL), hashlib.blake2b(digest_size=16)

    def add(self, files: Mapping[str, tuple[Path, str]], progress: Progress) -> list[PublishedFile]:
        """Add all files, and end the archive.

        Args:
            files: name → where it is, and its digest.
            progress: receives each.

        Raises:
            OpenMofiError: a file cannot be read, or a part cannot be written.
        """
        added = []
        progress.begin("publish", len(files))
        with tarfile.TarFile(fileobj=self, mode="w", format=tarfile.GNU_FORMAT, copybufsize=BLOCK) as tar:  # type: ignore[arg-type]
            for name, (path, digest) in sorted(files.items()):
                header = tarfile.TarInfo(name)
                try:
                    header.size = path.stat().st_size
                    added.append(PublishedFile(name, self.tell() + tarfile.BLOCKSIZE, header.size, digest))
                    with open(path, "rb") as content:
                        tar.addfile(header, content)
                except OSError as error:
                    raise OpenMofiError(f"{path} cannot be read: {error}.", "Check the disk.") from error
                progress.advance({})
        self.store()
        return added

    def tell(self) -> int:
        """Return how many bytes were written."""
        return sum(part.content for part in self.parts) + self._content

    def write(self, block: bytes) -> None:
        """Compress a block: a frame in each part that it belongs to."""
        while block:
            piece, block = block[: self._size - self._content], block[self._size - self._content :]
            frame = self._codec.compress(piece, asbytes=True)
            try:
                with open(self._path, "ab") as file:
                    file.write(frame)
            except OSError as error:
                raise write_error(error, self._path) from error
            self._digest.update(frame)
            self._content += len(piece)
            if self._content == self._size:
                self.store()

    def store(self) -> None:
        """Write the part that was begun to its place, unless it is there: its name contains its digest."""
        if not self._content:
            return
        digest, size = self._digest.hexdigest(), self._path.stat().st_size
        self.parts.append(Part(part_name(len(self.parts), digest), size, digest, self._content))
        target = f"{self._out}/{self.parts[-1].name}"
        if _is_there(target, size, digest):
            self._path.unlink()
        else:
            with atomic_path(target) as temporary:
                self._path.replace(temporary)
        self._content, self._digest = 0, hashlib.blake2b(digest_size=16)


def _is_there(path: str, size: int, digest: str) -> bool:
    """Whether a part is in its place; of a store its size is compared, of a local file its digest, too."""
    filesystem, name = filesystem_of(path)
    try:
        with store_errors(path):
            there = filesystem.exists(name) and filesystem.size(name) == size
    except OSError as error:
        raise write_error(error, path) from error
    return there and (is_remote(path) or file_digest(local_path(path)) == digest)


def _described(kb: KnowledgeBase, licence: str, files: list[PublishedFile], parts: list[Part]) -> PublishedBase:
    manifest, attribution = kb.manifest, kb.path / ATTRIBUTION
    return PublishedBase(
        format=FORMAT,
        kb_version=manifest.schema_version,
        fingerprint=kb.fingerprint,
        licence=licence,
        attribution=attribution.read_text("utf-8") if attribution.is_file() else "",
        counts={name: count for name, count in manifest.counts.items() if isinstance(count, int)},
        languages=list(manifest.counts.get("languages", ())),
        sources=sorted(manifest.inputs),
        made_with=manifest.versions.get("openmofi", ""),
        files=files,
        parts=parts,
    )


def _card(base: PublishedBase) -> str:
    """Return the page that people read before they fetch the base."""
    facts = {
        **{name.replace("_", " "): f"{count:,}" for name, count in sorted(base.counts.items())},
        "languages of names": ", ".join(base.languages) or "not recorded",
        "download": f"{sum(part.size for part in base.parts) / 2**20:,.1f} MiB, {len(base.parts)} parts",
        "on disk": f"{sum(file.size for file in base.files) / 2**20:,.1f} MiB",
        "licence": base.licence or ("see below" if base.attribution else "not stated"),
        "built from": ", ".join(base.sources),
        "built with": f"OpenMOFI {base.made_with}, schema version {base.kb_version}",
        "fingerprint": base.fingerprint,
    }
    return _CARD.read_text("utf-8").format(
        facts="\n".join(f"| {name} | {value} |" for name, value in facts.items()),
        attribution=base.attribution or "The base has no list of its sources.",
    )

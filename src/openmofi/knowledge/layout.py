"""Which files a knowledge base has, what its manifest says of them, and whether they are whole."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from openmofi.engine import Progress
from openmofi.errors import OpenMofiError
from openmofi.knowledge import beside, identifiers
from openmofi.knowledge.arrays import MORE_TRIES, NAMES_MARISA, further_files
from openmofi.schema import ENTITIES
from openmofi.storage import MANIFEST, Manifest, Outputs, fingerprint
from openmofi.storage.digests import BLOCK, file_digest
from openmofi.storage.folders import local_folder

KIND = "knowledge_base"
ENTITIES_ARROW = "entities.arrow"
OFFSETS, ROWS = "candidates/offsets.npy", "candidates/rows.npy"
COMMONNESS, LINK_PROBABILITY = "candidates/commonness.npy", "candidates/link_probability.npy"
VECTORS = "vectors.npy"
FILES = (ENTITIES_ARROW, identifiers.ROWS, NAMES_MARISA, OFFSETS, ROWS, COMMONNESS, LINK_PROBABILITY, VECTORS)
"""What every base has, beside `IDS`; with many names there are more tries (`further_files`)."""
IDS = (identifiers.NUMBERS, identifiers.TRIE)
"""Of these a base has one."""
OUTPUTS = Outputs((*FILES, *IDS, MORE_TRIES, *beside.FILES, f"{beside.IMAGES_STEM}.*.arrow", beside.ATTRIBUTION))
"""All files of a base."""
BATCH_ROWS = 1 << 16
"""Entities of a record batch, whose texts are 2 GiB at most; ten million entities are 153 of them."""
REBUILD = "Build it again, into a new folder: openmofi kb build table|wordnet|wikidata SOURCE -o FOLDER."


def file_sizes(folder: Path, ids: str, counts: Mapping[str, Any]) -> dict[str, int]:
    """File of a base → its bytes, for the manifest; `ids` is that of `IDS` which it has."""
    return {name: (folder / name).stat().st_size for name in sorted((*FILES, *further_files(counts), ids))}


# What is mapped is trusted later on: an entity row out of range or a damaged trie would link otherwise, or end the
# process. So digests are compared before anything is mapped, once per change of a file (`fingerprints.digests`).

DIGESTS = "digests"
_SHOWN_AFTER = 2.0
UNIT = 1.0 + 1e-3
"""The greatest probability, or coordinate of a vector of length 1, as rounded."""
_HINT = "The knowledge base is damaged: build it again."


def mappable(path: str | Path) -> Path:
    """The absolute folder of a base, which can be memory-mapped there; of one in a store the local copy.

    Raises:
        OpenMofiError: it cannot be fetched, or its name is not UTF-8, which the tries' library asks for.
    """
    folder = local_folder(path).absolute()
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise OpenMofiError(f"{folder} cannot be mapped: its name is not UTF-8.", "Rename the folder.") from error
    return folder


def with_digests(folder: Path, manifest: Manifest, counts: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of a base that was just written, with `digests`: file of `counts["files"]` → digest of its content.

    The manifest has a digest too, of all that it says beside `digests` and of the other digests.
    """
    digests = {name: file_digest(folder / name) for name in counts["files"]}
    return {**counts, DIGESTS: {**digests, MANIFEST: _manifest_digest(manifest, counts, digests)}}


def _manifest_digest(manifest: Manifest, counts: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    return fingerprint([manifest.fingerprint, manifest.versions, counts, digests])


def listed_files(folder: Path, manifest: Manifest) -> dict[str, int]:
    """File → size in bytes, as the manifest of a finished base lists them.

    Raises:
        OpenMofiError: the base is not finished, its manifest is damaged or lists other files than those that a base
            has and those that may lie beside them.
    """
    if not manifest.finished:
        raise OpenMofiError(
            f"{folder} is not finished: its build was interrupted.", "Start the same 'openmofi kb build' again."
        )
    counts = dict(manifest.counts)
    digests = counts.pop(DIGESTS, None)
    files = counts.get("files")
    others = {name: each for name, each in digests.items() if name != MANIFEST} if isinstance(digests, dict) else {}
    if not others or digests[MANIFEST] != _manifest_digest(manifest, counts, others):
        raise OpenMofiError(f"{folder / MANIFEST} is not what was built: its content has changed.", _HINT)
    whole = [{*FILES, *further_files(manifest.counts), each} for each in IDS]
    if (
        not isinstance(files, dict)
        or set(files) - {*beside.FILES, beside.images_file(files)} not in whole
        or not all(isinstance(size, int) for size in files.values())
    ):
        raise OpenMofiError(f"The manifest of {folder} does not list its files.", "Build the knowledge base again.")
    return files


def wrong_sizes(folder: Path, files: Mapping[str, int]) -> dict[str, str]:
    """File → what is wrong, of files that are missing or have another size; their content is not read."""
    problems = {}
    for name, size in files.items():
        path = folder / name
        actual = path.stat().st_size if path.is_file() else None
        if actual != size:
            problems[name] = "is missing" if actual is None else f"has {actual:,} bytes and should have {size:,}"
    return problems


def wrong_digests(folder: Path, manifest: Manifest, files: Mapping[str, int], progress: Progress) -> dict[str, str]:
    """File → what is wrong, of files whose content is not what was built; all of it is read."""
    digests = manifest.counts[DIGESTS]
    blocks = _Blocks(progress, sum(-(-size // BLOCK) for size in files.values()))
    return {
        name: "is not what was built: its content has changed"
        for name in files
        if file_digest(folder / name, blocks.advance) != digests.get(name)
    }


class _Blocks:
    """Shows how many blocks are read, from the third second on."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self._begins = time.monotonic() + _SHOWN_AFTER
        self._shown = False

    def advance(self) -> None:
        self._done += 1
        if self._shown:
            self._progress.advance({})
        elif time.monotonic() > self._begins:
            self._shown = True
            self._progress.begin("check kb", self._total)
            for _ in range(self._done):
                self._progress.advance({})


def require_whole(folder: Path, problems: Mapping[str, str]) -> None:
    """Check that nothing is wrong.

    Raises:
        OpenMofiError: names the first file, what is wrong with it, and the other files.
    """
    if problems:
        (first, problem), *others = problems.items()
        more = f"; damaged too: {', '.join(name for name, _ in others)}" if others else ""
        raise OpenMofiError(f"{folder / first} {problem}{more}.", _HINT)


def bad_entities(table: pa.Table) -> str:
    """What is wrong in the table of entities: UTF-8, offsets, something missing; else `""`."""
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        return f"is no valid table: {str(error).partition(chr(10))[0].rstrip('.')}"
    missing = [name for name in ENTITIES.names if table.column(name).null_count]
    untyped = any(types.flatten().null_count for types in table.column("types").chunks)
    return f"has an empty {missing[0]!r}" if missing else "has an empty type" if untyped else ""

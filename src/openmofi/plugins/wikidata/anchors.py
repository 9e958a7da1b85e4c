"""Page dumps in, two tables out: what names mean, and how often they are links at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import IO

import marisa_trie
import numpy as np
import pyarrow as pa

from openmofi.arrays import Ints
from openmofi.config import PositiveInt, Settings
from openmofi.engine.protocol import Progress, Quiet, cores
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge.arrays import built_trie, save_trie
from openmofi.knowledge.names import Memo, piece_pattern
from openmofi.plugins.wikidata.anchor_counts import AnchorCounts, Sums, summed
from openmofi.plugins.wikidata.anchor_tables import ANCHORS, ANCHORS_DIGEST, LINK_PROBABILITIES, probabilities_path
from openmofi.plugins.wikidata.page_dump import BLOCK, Place, page_blocks, pages
from openmofi.plugins.wikidata.slots import Done, Here, Slots, Task, begin_reading, reported, slots
from openmofi.plugins.wikidata.wikitext import is_disambiguation, plain_text, require_language
from openmofi.storage import atomic_path, file_digest, require_local, table_blocks
from openmofi.storage.addresses import local_path

LONGEST = 120
"""Characters of a name; longer ones are not looked for."""
Found = tuple[Ints, Ints]
"""(n) ids of names in their trie, (n) how often each was counted."""


def words(name: str) -> int:
    """Count the words of a name; what is written without spaces is one."""
    return len("".join(letter if letter.isalnum() else " " for letter in name).split())


class Occurrences:
    """Counts the names of one language in texts, as they are spelt, also those that overlap or stand in longer ones.

    A name begins and ends where a word, a letter of a script without spaces, or a sign does.

    Args:
        names: as texts spell them, single spaces between words; no two alike.
    """

    def __init__(self, names: marisa_trie.Trie) -> None:
        self._trie = names
        self._held: dict[str, int] = {}
        self._roles = Memo(self._role_of)

    def _role_of(self, piece: str) -> int:
        """0: no name begins so; 1: it is a name, and begins no other; 2: it begins others."""
        names = [*islice(self._trie.iterkeys(piece), 2)]
        return 1 if names == [piece] else 2 if names else 0

    def add(self, text: str) -> None:
        """Count the names in a text."""
        spans = [match.span() for match in piece_pattern().finditer(text)]
        ends = {end for _, end in spans}
        roles, prefixes, held = self._roles, self._trie.prefixes, self._held
        for start, end in spans:
            piece = text[start:end]
            if not (role := roles[piece]):
                continue
            for name in prefixes(text[start : start + LONGEST]) if role == 2 else (piece,):
                if start + len(name) in ends:
                    held[name] = held.get(name, 0) + 1

    def taken(self) -> Found:
        """Return what was counted since the last call."""
        counts = (
            np.fromiter((self._trie[name] for name in self._held), np.int64, len(self._held)),
            np.fromiter(self._held.values(), np.int64, len(self._held)),
        )
        self._held.clear()
        return counts


@dataclass(frozen=True)
class AnchorSettings(Settings):
    """How names are counted.

    Attributes:
        language: the wiki's code; `None`: as each dump says.
        min_seen: the link probability is found of names that were seen so often, as links, redirects, entries of
            disambiguation pages and titles.
        max_words: and that have no more words than this.
        held: rows of each kind that a process counts in memory, about 300 bytes each; those of a block of pages, or of
            more rows, are written to files beside the output until the end.
        memory_mib: what DuckDB takes to sum them up.
    """

    language: str | None = None
    min_seen: PositiveInt = 2
    max_words: PositiveInt = 6
    held: PositiveInt = 1_000_000
    memory_mib: PositiveInt = 2048


def build_anchors(
    dumps: Sequence[str | Path],
    out: str | Path,
    settings: AnchorSettings | None = None,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Count the names by which links, redirects and disambiguation pages call articles.

    The dumps are read twice. The same pages give the same bytes, in whatever files and order they stand; of pages with
    the same title the last counts, for which the dumps are unpacked once more.

    Args:
        dumps: files of a dump, or of dumps in several languages; see `openmofi.plugins.wikidata.page_dump.pages`.
        out: a local Parquet file, for `ANCHORS`; `LINK_PROBABILITIES` go beside it, see `probabilities_path`.
        settings: see `AnchorSettings`.
        workers: processes that parse, beside the one that unpacks; one a core where 0. Dumps below 16 MiB are parsed by
            the one that unpacks.
        progress: is told of each MiB that is read.

    Returns:
        What was counted: `pages`, `redirects`, `disambiguations`, `repeated` (pages whose title a later one has, which
        do not count), `names` (rows) and `link_probabilities` (rows).

    Raises:
        UsageError: `out` is not local, a language is unknown, or a dump is given twice.
        OpenMofiError: a dump is missing, damaged, cut off or none, or has no articles; `out` cannot be written.
        MissingExtraError: a library of the extra `wikidata` is missing, which a dump's compression asks for.
    """
    settings, progress = settings or AnchorSettings(), progress or Quiet()
    require_local(out)
    if settings.language is not None:
        require_language(settings.language, "--language")
    job = _Job(_files(dumps), local_path(out), settings, progress, workers or cores())
    with _work_folder(job.out) as work:
        return job.run(work)


def _files(dumps: Sequence[str | Path]) -> list[Path]:
    files = [Path(dump) for dump in dumps]
    if not files:
        raise UsageError("There is no dump to read.", "Give pages-articles.xml.bz2 of a Wikipedia.")
    for path in files:
        if not path.exists():
            raise OpenMofiError(f"{path} is missing.", "Check the path.")
    resolved = [path.resolve() for path in files]
    if twice := next((path for path in files if resolved.count(path.resolve()) > 1), None):
        raise UsageError(f"{twice} is given twice.", "Give it once.")
    return files


def _work_folder(out: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a work folder on the disk of the output, since spilt data may exceed a temporary folder in memory."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".openmofi-anchors-", dir=out.parent)
    except OSError as error:
        raise OpenMofiError(
            f"{out} cannot be written: {error.strerror or error}.", "Choose another output with -o."
        ) from error


@dataclass(frozen=True)
class _Job:
    files: Sequence[Path]
    out: Path
    settings: AnchorSettings
    progress: Progress
    workers: int
    replaced: dict[int, frozenset[int]] = field(default_factory=dict)
    """Block → positions of pages that do not count, since a later one has their title."""

    def run(self, work: str) -> dict[str, int]:
        # A dump that is plain is at least so many blocks; a packed one has more.
        least = sum(path.stat().st_size for path in self.files) // BLOCK
        with slots(Path(work), self.workers) if least and self.workers > 1 else nullcontext(Here()) as pool:
            return self._run(Path(work), pool)

    def _run(self, folder: Path, pool: Slots | Here) -> dict[str, int]:
        settings, block_counts = self.settings, dict[int, tuple[int, int, int]]()
        self._read("links", pool, block_counts.update, _count, folder, settings.held)
        if not any(articles for articles, _, _ in block_counts.values()):
            raise OpenMofiError(f"{self.files[0]} has no articles.", "Give pages-articles.xml.bz2 of a Wikipedia.")
        with summed(folder, settings.memory_mib) as sums:
            self.replaced.update(sums.replaced())
        if self.replaced:
            self._read("repeated pages", pool, block_counts.update, _count, folder, settings.held, again=True)
        articles, redirects, disambiguations = map(sum, zip(*block_counts.values(), strict=True))
        names, probabilities = folder / "names", folder / "probabilities"
        with summed(folder, settings.memory_mib) as sums:
            rows = _write(names, ANCHORS, sums.names())
            counted = self._occurrences(sums, folder, pool)
            notes = {ANCHORS_DIGEST: file_digest(names)}
            probable = _write(probabilities, LINK_PROBABILITIES, self._probabilities(sums, counted), notes)
        for written, path in ((probabilities, probabilities_path(self.out)), (names, self.out)):
            with atomic_path(path) as temporary:
                shutil.move(written, temporary)
        return {
            "pages": articles,
            "redirects": redirects,
            "disambiguations": disambiguations,
            "repeated": sum(map(len, self.replaced.values())),
            "names": rows,
            "link_probabilities": probable,
        }

    def _read(self, stage: str, pool: Slots | Here, done: Done, task: Task, *more: object, again: bool = False) -> None:
        """Have a task read each block of pages, or those again that have replaced ones; pass its result to `done`."""
        begin_reading(self.progress, stage, self.files)
        number = 0
        for path in self.files:
            blocks = page_blocks(path, self.settings.language, BLOCK)
            for block_place, block in reported(blocks, lambda each: each[0].read, path, self.progress):
                skip = self.replaced.get(number, frozenset())
                if skip or not again:
                    pool.run(done, (block,), task, block_place, number, skip, *more)
                number += 1
        pool.finish()

    def _occurrences(self, sums: Sums, folder: Path, pool: Slots | Here) -> dict[str, _Counted]:
        by_language = dict[str, _Counted]()
        for language, rows in groupby(
            (
                (language, name)
                for table in self._wanted(sums)
                for language, name in zip(table["language"].to_pylist(), table["name"].to_pylist(), strict=True)
            ),
            key=lambda row: row[0],
        ):
            trie = built_trie(name for _, name in rows)
            save_trie(_trie_path(folder, language), trie)
            by_language[language] = _Counted(trie, np.zeros(len(trie), np.int64))

        def add(of_languages: dict[str, Found]) -> None:
            for language, (ids, counts) in of_languages.items():
                by_language[language].counts[ids] += counts

        self._read("occurrences", pool, add, _find, folder)
        return by_language

    def _wanted(self, sums: Sums) -> Iterator[pa.Table]:
        for table in sums.seen(self.settings.min_seen):
            few = [words(name) <= self.settings.max_words for name in table["name"].to_pylist()]
            yield table.filter(pa.array(few, pa.bool_()))

    def _probabilities(self, sums: Sums, by_language: dict[str, _Counted]) -> Iterator[pa.Table]:
        for table in self._wanted(sums):
            anchors = table["anchors"].to_numpy()
            languages = np.array(table["language"].to_pylist(), object)
            names = np.array(table["name"].to_pylist(), object)
            counted = np.zeros(len(table), np.int64)
            for language in sorted(set(languages)):
                rows = languages == language
                of_language = by_language[language]
                counted[rows] = of_language.counts[[of_language.names[name] for name in names[rows].tolist()]]
            # Each link is an occurrence, also where the text around it hides that.
            occurrences = np.maximum(counted, anchors)
            share = np.divide(anchors, occurrences, out=np.zeros(len(table)), where=occurrences > 0)
            yield pa.table(
                [
                    table["name"],
                    table["language"],
                    anchors,
                    occurrences,
                    pa.array(share.astype(np.float32), mask=occurrences == 0),
                ],
                schema=LINK_PROBABILITIES,
            )


@dataclass(frozen=True)
class _Counted:
    """Names of a language, and (names) how often each stands in texts."""

    names: marisa_trie.Trie
    counts: Ints


def _count(
    handle: IO[bytes], block_place: Place, number: int, skip: frozenset[int], folder: Path, held: int
) -> dict[int, tuple[int, int, int]]:
    """A task: write the links of a block of pages to files; return its pages, redirects, disambiguations."""
    for left in folder.glob(f"*-{number}-*.parquet") if skip else ():
        left.unlink()
    counts = AnchorCounts(folder, held, number)
    for position, page in enumerate(pages(block_place, handle)):
        if position not in skip:
            counts.add(page, position)
    counts.flush()
    return {number: (counts.pages, counts.redirects, counts.disambiguations)}


def _find(handle: IO[bytes], block_place: Place, _: int, skip: frozenset[int], folder: Path) -> dict[str, Found]:
    """A task: count how often names occur in the texts of a block of pages, by language."""
    by_language = dict[str, Occurrences]()
    for position, page in enumerate(pages(block_place, handle)):
        if position in skip:
            continue
        counted = _opened(_trie_path(folder, page.site.language))
        if counted and page.redirect is None and not is_disambiguation(page.text, page.site):
            counted.add(plain_text(page.text, page.site))
            by_language[page.site.language] = counted
    return {language: each.taken() for language, each in by_language.items()}


def _trie_path(folder: Path, language: str) -> Path:
    return folder / f"{language}.marisa"


@lru_cache(maxsize=16)
def _opened(path: Path) -> Occurrences | None:
    """Return a process's counter, opened once; `None` where no name of the language is looked for."""
    return Occurrences(marisa_trie.Trie().mmap(str(path))) if path.exists() else None


def _write(path: Path, schema: pa.Schema, tables: Iterator[pa.Table], notes: dict[str, str] | None = None) -> int:
    rows = 0
    with table_blocks(path, schema, notes) as add:
        for table in tables:
            add(table.cast(schema))
            rows += len(table)
    return rows

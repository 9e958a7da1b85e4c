"""Page dumps in, two tables out: what names mean, and how often they are links at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa

from openmofi.config import PositiveInt, Settings
from openmofi.engine.protocol import Progress, Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge.anchors.counts import Counts, Sums, summed
from openmofi.knowledge.anchors.dump import Page, pages
from openmofi.knowledge.anchors.occurrences import Occurrences, words
from openmofi.knowledge.anchors.site import require_language
from openmofi.knowledge.anchors.tables import ANCHORS, ANCHORS_DIGEST, LINK_PROBABILITIES, probabilities_path
from openmofi.knowledge.anchors.wikitext import is_disambiguation, plain_text
from openmofi.storage import atomic_path, require_local
from openmofi.storage.addresses import local_path
from openmofi.storage.blocks import table_blocks
from openmofi.storage.digests import file_digest

_MIB = 1 << 20


@dataclass(frozen=True)
class AnchorSettings(Settings):
    """How names are counted.

    Attributes:
        language: the wiki's code; `None`: as each dump says.
        min_seen: the link probability is found of names that were seen so often, as links, redirects, entries of
            disambiguation pages and titles.
        max_words: and that have no more words than this.
        held: rows of each kind that are counted in memory, about 300 bytes each; more are written to files beside the
            output until the end.
        memory_mib: what DuckDB takes to sum them up.
    """

    language: str | None = None
    min_seen: PositiveInt = 2
    max_words: PositiveInt = 6
    held: PositiveInt = 1_000_000
    memory_mib: PositiveInt = 2048


def build_anchors(dumps: Sequence[str | Path], out: str | Path, settings: AnchorSettings | None = None, *,
                  progress: Progress | None = None) -> dict[str, int]:
    """Count the names by which links, redirects and disambiguation pages call articles.

    The dumps are read twice. The same pages give the same bytes, in whatever files and order they stand.

    Args:
        dumps: files of a dump, or of dumps in several languages; see `openmofi.knowledge.anchors.dump.pages`.
        out: a local Parquet file, for `ANCHORS`; `LINK_PROBABILITIES` go beside it, see `probabilities_path`.
        settings: see `AnchorSettings`.
        progress: is told of each MiB that is read.

    Returns:
        What was counted: `pages`, `redirects`, `disambiguations`, `names` (rows) and `link_probabilities` (rows).

    Raises:
        UsageError: `out` is not local, a language is unknown, or a dump is given twice.
        OpenMofiError: a dump is missing, damaged, cut off or none, has no articles, or a page stands in two of them;
            `out` cannot be written.
        MissingExtraError: a library of the extra `wikidata` is missing, which a dump's compression asks for.
    """
    settings, progress = settings or AnchorSettings(), progress or Quiet()
    require_local(out)
    if settings.language is not None:
        require_language(settings.language, "--language")
    job = _Job(_files(dumps), local_path(out), settings, progress)
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
    """On the disk of the output: what is spilt may be larger than a temporary folder in memory."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".openmofi-anchors-", dir=out.parent)
    except OSError as error:
        raise OpenMofiError(f"{out} cannot be written: {error.strerror or error}.",
                            "Choose another output with -o.") from error


@dataclass(frozen=True)
class _Job:
    files: Sequence[Path]
    out: Path
    settings: AnchorSettings
    progress: Progress

    def run(self, work: str) -> dict[str, int]:
        folder, settings = Path(work), self.settings
        counts = Counts(folder, settings.held)
        for page in self._pages("links"):
            counts.add(page)
        counts.flush()
        if not counts.pages:
            raise OpenMofiError(f"{self.files[0]} has no articles.", "Give pages-articles.xml.bz2 of a Wikipedia.")
        names, probabilities = folder / "names", folder / "probabilities"
        with summed(folder, settings.memory_mib) as sums:
            rows = _write(names, ANCHORS, sums.names())
            found = self._occurrences(sums)
            notes = {ANCHORS_DIGEST: file_digest(names)}
            probable = _write(probabilities, LINK_PROBABILITIES, self._probabilities(sums, found), notes)
        for written, path in ((probabilities, probabilities_path(self.out)), (names, self.out)):
            with atomic_path(path) as temporary:
                shutil.move(written, temporary)
        return {"pages": counts.pages, "redirects": counts.redirects, "disambiguations": counts.disambiguations,
                "names": rows, "link_probabilities": probable}

    def _pages(self, stage: str) -> Iterator[Page]:
        self.progress.begin(stage, sum(-(-path.stat().st_size // _MIB) for path in self.files))
        for path in self.files:
            steps = _Steps(self.progress, -(-path.stat().st_size // _MIB))
            yield from pages(path, self.settings.language, steps.read)
            steps.end()

    def _occurrences(self, sums: Sums) -> dict[str, Occurrences]:
        found = {language: Occurrences(name for _, name in rows) for language, rows in groupby(
            ((language, name) for table in self._wanted(sums) for language, name in zip(
                table["language"].to_pylist(), table["name"].to_pylist(), strict=True)), key=lambda row: row[0])}
        for page in self._pages("occurrences"):
            if page.redirect is None and page.site.language in found and not is_disambiguation(page.text, page.site):
                found[page.site.language].add(plain_text(page.text, page.site))
        return found

    def _wanted(self, sums: Sums) -> Iterator[pa.Table]:
        for table in sums.seen(self.settings.min_seen):
            few = [words(name) <= self.settings.max_words for name in table["name"].to_pylist()]
            yield table.filter(pa.array(few, pa.bool_()))

    def _probabilities(self, sums: Sums, found: dict[str, Occurrences]) -> Iterator[pa.Table]:
        for table in self._wanted(sums):
            anchors = table["anchors"].to_numpy()
            languages = np.array(table["language"].to_pylist(), object)
            names = np.array(table["name"].to_pylist(), object)
            counted = np.zeros(len(table), np.int64)
            for language in sorted(set(languages)):
                rows = languages == language
                counted[rows] = found[language].of(names[rows].tolist())
            # Each link is an occurrence, also where the text around it hides that.
            occurrences = np.maximum(counted, anchors)
            share = np.divide(anchors, occurrences, out=np.zeros(len(table)), where=occurrences > 0)
            yield pa.table([table["name"], table["language"], anchors, occurrences,
                            pa.array(share.astype(np.float32), mask=occurrences == 0)], schema=LINK_PROBABILITIES)


class _Steps:
    """A file's bytes as a progress of whole MiB."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._left, self._bytes = progress, total, 0

    def read(self, count: int) -> None:
        self._bytes += count
        while self._bytes >= _MIB and self._left:
            self._bytes -= _MIB
            self._step()

    def end(self) -> None:
        while self._left:
            self._step()

    def _step(self) -> None:
        self._left -= 1
        self._progress.advance({})


def _write(path: Path, schema: pa.Schema, tables: Iterator[pa.Table], notes: dict[str, str] | None = None) -> int:
    rows = 0
    with table_blocks(path, schema, notes) as add:
        for table in tables:
            add(table.cast(schema))
            rows += len(table)
    return rows

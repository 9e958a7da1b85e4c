"""Build a knowledge base of Wikidata's dumps."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.engine.protocol import Progress, Quiet
from openmofi.errors import OpenMofiError, UsageError, did_you_mean
from openmofi.knowledge import beside
from openmofi.knowledge.builders.build import BuildSettings, build
from openmofi.knowledge.builders.source import read_source
from openmofi.knowledge.database import JOINED, MEMORY, memory_bytes
from openmofi.plugins.wikidata.edits import Edits, edited, redirects_file, state_of
from openmofi.plugins.wikidata.items import ITEMS, RELATIONS, label_order, latin_letters, property_number
from openmofi.plugins.wikidata.long_tables import join_tables, long_tables
from openmofi.plugins.wikidata.parts import PARQUET, read_parts
from openmofi.plugins.wikidata.priors import PriorSources
from openmofi.plugins.wikidata.published import BLOCK, LAYOUTS, LONG, PublishedColumns
from openmofi.plugins.wikidata.select import ClassRules, Selected, class_rules, read_redirects, select_tables
from openmofi.plugins.wikidata.wikitext import language_codes, wiki_code
from openmofi.storage import (
    Manifest,
    atomic_path,
    file_digest,
    file_fingerprint,
    fingerprint,
    locked,
    read_parquet,
    require_local,
    write_arrow,
    write_table,
)
from openmofi.storage.table_files import arrow_blocks

_log = logging.getLogger(__name__)
_LANGUAGE = 20
DUMP_FILES = ("*.json", "*.json.gz", "*.json.bz2", "*.json.zst", f"*{PARQUET}")
BUILDER = "wikidata"


@dataclass(frozen=True)
class WikidataSettings(BuildSettings):
    """How a knowledge base of Wikidata is built, beside what holds for all.

    Attributes:
        languages: of names and descriptions, the preferred one first.
        kinds: ids of classes; only their members stay. All where empty.
        drop: ids of classes that go, with their subclasses.
        visual_only: drop classes that no image shows as themselves, too (`classes.toml`).
        max_broken: the share of lines that cannot be read from which on a dump counts as damaged.
        external_ids: properties such as `P214`, whose values are kept beside the base.
        transliterate: those of `languages` whose labels and aliases are names in Latin letters too.
    """

    languages: tuple[str, ...] = ("en",)
    kinds: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    visual_only: bool = False
    max_broken: float = 0.001
    external_ids: tuple[str, ...] = ()
    transliterate: tuple[str, ...] = ()


@dataclass(frozen=True)
class Extras:
    """Files beside the dumps.

    Attributes:
        priors: what names mean, counted elsewhere.
        redirects: items that were merged into others; see `read_redirects`.
        columns: of Parquet that others publish, a file or the name of a layout; see `PublishedColumns.read`.
    """

    priors: PriorSources = field(default_factory=PriorSources)
    redirects: Path | None = None
    columns: Path | None = None

    @classmethod
    def of(
        cls,
        anchors: Sequence[str | Path] = (),
        pageviews: str | Path | None = None,
        redirects: str | Path | None = None,
        columns: str | Path | None = None,
    ) -> Extras:
        """Make extras from paths as callers give them."""
        return cls(
            PriorSources(tuple(map(Path, anchors)), Path(pageviews) if pageviews else None),
            Path(redirects) if redirects else None,
            Path(columns) if columns else None,
        )

    def inputs(self) -> dict[str, str]:
        """Return the fingerprint of each file, by its role and name."""
        fingerprints = {f"redirects/{self.redirects.name}": file_fingerprint(self.redirects)} if self.redirects else {}
        if self.columns:
            named = str(self.columns) in LAYOUTS
            fingerprints[f"columns/{self.columns.name}"] = str(self.columns) if named else file_digest(self.columns)
        return {**self.priors.inputs(), **fingerprints}


def build_wikidata(
    dumps: Sequence[str | Path],
    out: str | Path,
    settings: WikidataSettings | None = None,
    *,
    extras: Extras | None = None,
    work: str | Path | None = None,
    memory: str = MEMORY,
    workers: int = 0,
    progress: Progress | None = None,
    restart: bool = False,
    edits: Edits | None = None,
) -> Manifest:
    """Build a knowledge base of dumps of Wikidata; the same dumps give the same bytes, in any order.

    Args:
        dumps: JSON dumps as Wikidata publishes them (`wikidata-DATE-all.json.gz`, .bz2, .zst or plain), also cut into
            parts of whole lines; Parquet as others publish it; or folders of these.
        out: folder of the knowledge base.
        settings: see there.
        extras: anchors, page views, redirects, and which columns of Parquet hold what.
        work: folder for what has been read, which a later build that has some of the same files begins with;
            `OUT.work` where not given. It can be removed once the base is built.
        memory: that the build may use beside the processes that parse, such as `8GB`.
        workers: processes that parse; one a core where 0.
        progress: receives each step.
        restart: see `openmofi.knowledge.builders.build.build`; what was read is kept.
        edits: an older base; the dumps have what was changed since.

    Raises:
        UsageError: a language, class or property is none, or the anchors are of other languages.
        MissingExtraError: a library of the extra `wikidata` is missing.
        OpenMofiError: a dump is missing, damaged or cut off, or a file of `extras` is none; no item is left; `out`
            holds something else.
    """
    settings = settings or WikidataSettings()
    _require_known(settings)
    require_local(out)
    folder = Path(work) if work else Path(f"{str(out).rstrip('/')}.work")
    joined = int(memory_bytes(memory) * JOINED)
    reading = _Reading.of(dumps, settings, extras or Extras(), folder, joined, workers, progress or Quiet(), edits)
    return build(
        BUILDER,
        lambda: read_source(reading.tables[0].source),
        reading.inputs,
        out,
        settings,
        memory=memory,
        write_beside=lambda base: _write_beside(base, *reading.tables),
        restart=restart,
    )


@dataclass(frozen=True)
class _Reading:
    """How dumps are read and what they are read for; see `build_wikidata`.

    Attributes:
        files: fingerprint → dump.
        inputs: name → fingerprint, of dumps and of what comes beside them.
        published: whether a dump is Parquet as others publish it.
        long: long tables, which become the only file once they are joined; empty where there are none.
        folder: keeps what was read.
        memory: bytes that joins may use.
        edits: what the dumps' items change; `None` where the dumps have all items.
    """

    settings: WikidataSettings
    extras: Extras
    files: dict[str, Path]
    inputs: dict[str, str]
    rules: ClassRules
    columns: PublishedColumns
    published: bool
    long: dict[str, list[Path]]
    folder: Path
    memory: int
    workers: int
    progress: Progress
    edits: Edits | None

    @classmethod
    def of(
        cls,
        dumps: Sequence[str | Path],
        settings: WikidataSettings,
        extras: Extras,
        folder: Path,
        memory: int,
        workers: int,
        progress: Progress,
        edits: Edits | None,
    ) -> _Reading:
        """Look at the dumps, and check what comes beside them.

        Raises:
            UsageError, MissingExtraError, OpenMofiError: see `build_wikidata`.
        """
        rules = class_rules(settings.kinds, settings.drop, visual_only=settings.visual_only)
        columns = PublishedColumns.read(extras.columns)
        long = long_tables(dumps) if str(extras.columns) == LONG else {}
        dump_paths = [] if long else dump_files(dumps)
        published = [columns.of(file) for file in dump_paths if file.suffix == PARQUET]
        if extras.columns and not (long or published):
            raise UsageError(f"{extras.columns} names columns, and no dump is a Parquet file.", "Leave --columns out.")
        files = dict(sorted((file_fingerprint(file), file) for file in dump_paths))
        inputs = {file.name: digest for digest, file in files.items()} | extras.inputs()
        if edits:
            if long or published:
                raise UsageError("Changed items are read of JSON, and Parquet was given.", "Give the JSON of Wikidata.")
            before = edits.inputs()
            if twice := next((name for name in before if inputs.get(name, before[name]) != before[name]), None):
                raise OpenMofiError(f"Another file named {twice} was read for {edits.path}.", "Rename the newer one.")
            inputs = before | inputs
        inputs |= {
            f"{table}:{file.parent.name}/{file.name}": file_fingerprint(file) for table in long for file in long[table]
        }
        extras.priors.require_readable(settings.languages)
        parquet = bool(long or published)
        return cls(
            settings, extras, files, inputs, rules, columns, parquet, long, folder, memory, workers, progress, edits
        )

    @cached_property
    def tables(self) -> tuple[Selected, dict[str, int]]:
        """The tables of what is selected of the dumps, and counts of edits; read once."""
        settings, extras, progress, key = self.settings, self.extras, self.progress, self._key()
        redirects = read_redirects(extras.redirects) if extras.redirects else None
        folder, state, counts = f"parts-{key}", state_of(self.inputs), dict[str, int]()
        waiting = f"Another build reads the dumps into {self.folder}. Waiting."
        with locked(self.folder / "build", lambda: progress.say(waiting)):
            parts = read_parts(
                self._joined(key) if self.long else self.files,
                self.folder / folder,
                settings.languages,
                progress,
                workers=self.workers,
                external=settings.external_ids,
                transliterate=settings.transliterate,
                columns=self.columns,
                max_broken=settings.max_broken,
            )
            paths: Sequence[str] = parts.paths
            if self.edits:
                if self.files and not parts.items:
                    files = ", ".join(map(str, self.files.values()))
                    raise OpenMofiError(f"There is no item in {files}.", "Give JSON of the items that were changed.")
                now = edited(self.edits, paths, redirects, self.folder, folder, state, self.memory)
                paths, redirects, counts = now.paths, now.redirects, now.counts
            if redirects is not None:
                write_table(redirects_file(self.folder, state), redirects)
            tabled = select_tables(
                paths,
                self.rules,
                self.folder / f"tables-{fingerprint([key, asdict(self.rules), sorted(self.inputs.items())])}",
                sources=extras.priors,
                redirects=redirects,
                memory=self.memory,
                languages=settings.languages,
            )
        said = counts | tabled.counts | {"of other kinds": parts.others, "lines that cannot be read": parts.broken}
        progress.say(", ".join(f"{name} {count:,}" for name, count in said.items()))
        return tabled, counts

    def _joined(self, key: str) -> dict[str, Path]:
        """Join the long tables to one of items; return its fingerprint and file."""
        digest = fingerprint([key, sorted(self.inputs.items())])
        joined = self.folder / f"joined-{digest}{PARQUET}"
        if not joined.exists():
            join_tables(self.long, joined, self.settings.languages, self.settings.external_ids, self.memory)
        return {digest: joined}

    def _key(self) -> str:
        """Name what is read of a dump."""
        settings = self.settings
        return fingerprint(
            [
                [*label_order(settings.languages).items()],
                settings.external_ids,
                ITEMS.names,
                list(RELATIONS),
                BLOCK,
                *([self.columns.names] if self.published else []),
                *([{"transliterate": sorted(settings.transliterate)}] if settings.transliterate else []),
            ]
        )


def _require_known(settings: WikidataSettings) -> None:
    """Refuse unknown language codes and malformed ids."""
    for language in settings.languages or ("",):
        if not (0 < len(language) <= _LANGUAGE and language.replace("-", "").isalpha() and language.islower()):
            raise UsageError(f"{language!r} is no language code.", "Codes are such as en, de or zh-hant.")
        if wiki_code(language) not in language_codes():
            _log.warning(
                "%r is the language of no Wikipedia: few items have names in it, or none.%s",
                language,
                did_you_mean(language, sorted(language_codes())),
            )
    if unknown := [code for code in settings.transliterate if code not in settings.languages]:
        raise UsageError(
            f"{unknown[0]!r} is none of the languages ({', '.join(settings.languages)}).",
            "Transliterate languages that names are taken of.",
        )
    if settings.transliterate:
        latin_letters()
    try:
        for name in settings.external_ids:
            property_number(name)
    except ValueError as error:
        raise UsageError(f"{error}.", "External ids are properties such as P214 (VIAF).") from error


def _write_beside(base: Path, selected: Selected, edits: dict[str, int]) -> dict[str, Any]:
    """Write details, external ids and redirects; return counts for the manifest, with those of edits."""
    with arrow_blocks(base / beside.DETAILS_FILE, beside.DETAILS) as add, pq.ParquetFile(selected.details) as details:
        for batch in details.iter_batches():
            add(pa.Table.from_batches([batch]).cast(beside.DETAILS))
    counts: dict[str, Any] = {"images": selected.images, "priors": selected.priors}
    counts |= {"edits": edits} if edits else {}
    if selected.external_ids:
        with atomic_path(base / beside.EXTERNAL_IDS_FILE) as temporary:
            shutil.copyfile(selected.external_ids, temporary)
        counts["external_ids"] = selected.external_counts
    if selected.redirects:
        redirects = read_parquet(selected.redirects, beside.REDIRECTS)
        write_arrow(base / beside.REDIRECTS_FILE, redirects)
        counts["redirects"] = len(redirects)
    return counts


def dump_files(dumps: Sequence[str | Path]) -> list[Path]:
    """Return the files that are named, and those in folders that are named.

    Raises:
        OpenMofiError: there is none, or two have the same name.
    """
    files = list[Path]()
    for dump in map(Path, dumps):
        matches = [file for pattern in DUMP_FILES for file in dump.glob(pattern)] if dump.is_dir() else [dump]
        if not matches or not matches[0].is_file():
            raise OpenMofiError(
                f"{dump} {'has no dump' if dump.is_dir() else 'is no file'}.",
                f"Dumps are named {', '.join(DUMP_FILES)}.",
            )
        files += sorted(matches)
    names = [file.name for file in files]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise OpenMofiError(f"Two dumps are named {twice}.", "Give each once; rename them where they differ.")
    return files

"""A knowledge base of Wikidata: dumps in, the memory-mapped folder out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from openmofi.engine.protocol import Progress, Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge.builders.build import BuildSettings, build
from openmofi.knowledge.builders.source import ReadSource, read_source
from openmofi.knowledge.database import JOINED, MEMORY, memory_bytes
from openmofi.knowledge.wikidata.classes import class_rules
from openmofi.knowledge.wikidata.dump import BLOCK
from openmofi.knowledge.wikidata.items import ITEMS, RELATIONS
from openmofi.knowledge.wikidata.parts import read_parts
from openmofi.knowledge.wikidata.select import select_tables
from openmofi.storage import Manifest, file_fingerprint, fingerprint, locked, require_local

_LANGUAGE = 20
DUMP_FILES = ("*.json", "*.json.gz", "*.json.bz2", "*.json.zst")


@dataclass(frozen=True)
class WikidataSettings(BuildSettings):
    """How a knowledge base of Wikidata is built, beside what holds for all.

    Attributes:
        languages: of names and descriptions, the preferred one first.
        kinds: ids of classes; only their members stay. All where empty.
        drop: ids of classes that go, with their subclasses.
        visual_only: drop classes that no image shows as themselves, too (`classes.toml`).
        max_broken: the share of lines that cannot be read from which on a dump counts as damaged.
    """

    languages: tuple[str, ...] = ("en",)
    kinds: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    visual_only: bool = False
    max_broken: float = 0.001


def build_wikidata(dumps: Sequence[str | Path], out: str | Path, settings: WikidataSettings | None = None, *,
                   work: str | Path | None = None, memory: str = MEMORY, workers: int = 0,
                   progress: Progress | None = None, restart: bool = False) -> Manifest:
    """Build a knowledge base of dumps of Wikidata; the same dumps give the same bytes, in any order.

    Args:
        dumps: JSON dumps as Wikidata publishes them (`wikidata-DATE-all.json.gz`, .bz2, .zst or plain), also cut into
            parts of whole lines; or folders of these.
        out: folder of the knowledge base.
        settings: see there.
        work: folder for what has been read, which a later build of the same dumps begins with; `OUT.work` where not
            given. It can be removed once the base is built.
        memory: that the build may use beside the processes that parse, such as `8GB`.
        workers: processes that parse; one a core where 0.
        progress: receives each step.
        restart: see `openmofi.knowledge.builders.build.build`; what was read is kept.

    Raises:
        UsageError: a language or class is none.
        MissingExtraError: a library of the extra `wikidata` is missing.
        OpenMofiError: a dump is missing, damaged or cut off; no item is left; `out` holds something else.
    """
    settings, progress = settings or WikidataSettings(), progress or Quiet()
    rules = class_rules(settings.kinds, settings.drop, visual_only=settings.visual_only)
    for language in settings.languages or ("",):
        if not (0 < len(language) <= _LANGUAGE and language.replace("-", "").isalpha() and language.islower()):
            raise UsageError(f"{language!r} is no language code.", "Codes are such as en, de or zh-hant.")
    require_local(out)
    joined = f"{int(memory_bytes(memory) * JOINED) // 10**6}MB"
    files = dump_files(dumps)
    inputs = {file.name: file_fingerprint(file) for file in files}
    files.sort(key=lambda file: inputs[file.name])
    folder = Path(work) if work else Path(f"{str(out).rstrip('/')}.work")
    key = fingerprint([sorted(inputs.values()), settings.languages, ITEMS.names, list(RELATIONS), BLOCK])

    def read() -> ReadSource:
        with locked(folder / "build", lambda: progress.say(f"Another build reads the dumps into {folder}. Waiting.")):
            parts = read_parts(files, folder / f"parts-{key}", settings.languages, progress, workers=workers,
                               max_broken=settings.max_broken)
            tables = folder / f"tables-{fingerprint([key, asdict(rules)])}"
            selected = select_tables(parts.paths, rules, tables, memory=joined, threads=workers)
            progress.say(", ".join(f"{name} {count:,}" for name, count in {
                **selected.counts, "of other kinds": parts.others, "lines that cannot be read": parts.broken}.items()))
            return read_source(selected.source)

    return build("wikidata", read, inputs, out, settings, memory=memory, restart=restart)


def dump_files(dumps: Sequence[str | Path]) -> list[Path]:
    """The files that are named, and those of folders.

    Raises:
        OpenMofiError: there is none, or two have the same name.
    """
    files = list[Path]()
    for dump in map(Path, dumps):
        found = [file for pattern in DUMP_FILES for file in dump.glob(pattern)] if dump.is_dir() else [dump]
        if not found or not found[0].is_file():
            raise OpenMofiError(f"{dump} {'has no dump' if dump.is_dir() else 'is no file'}.",
                                f"Dumps are named {', '.join(DUMP_FILES)}.")
        files += sorted(found)
    names = [file.name for file in files]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise OpenMofiError(f"Two dumps are named {twice}.", "Give each once; rename them where they differ.")
    return files

"""Recognises how a table is read whose columns have names of their own.

- Entry points: `openmofi.guesses` `tables`, `entities`
- Needs: nothing
- Use: `openmofi label sheet.csv --guess …`, `openmofi label check sheet.csv --guess`, `openmofi kb build table …`
- Never: labels unasked without `--yes`, or leaves the folders below and beside that of the table
- Tests: `tests/plugins/test_table_guess.py`
- Documentation: `docs/pairs.md`, `docs/knowledge-base.md`
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import typer

from openmofi.api.checks import check_pairs
from openmofi.api.given import shards_of
from openmofi.cli.next_steps import options
from openmofi.cli.tables import print_pairs
from openmofi.config import changed
from openmofi.errors import UsageError
from openmofi.knowledge.build_settings import ENTITY_COLUMNS, TableSettings
from openmofi.knowledge.builders.source import source_files
from openmofi.pairs.formats.delimited import read_records
from openmofi.pairs.formats.files import inside
from openmofi.pairs.formats.grouping import kind_of
from openmofi.pairs.read_settings import ReadSettings, open_source
from openmofi.review.commands import shell_command
from openmofi.storage import TABLES, is_remote
from openmofi.storage.encodings import UTF8, encoding_of

_ROWS, _FOLDERS, _CHECKED, _SHOWN = 200, 1000, 20, 3
_WEB = ("http://", "https://")
# In English, German, French, Dutch, Spanish, Italian and Portuguese. What describes an object says much
# that no image shows: it counts where nothing names it.
_NAMING, _DESCRIBING = (
    re.compile(names, re.IGNORECASE)
    for names in (
        r"title|titel|titre|t[ií]tul|titol|caption|legend|légende|bezeichnung|object.?name|keyword|tags?$|schlag|stichw|"
        r"mots|trefwoord|palabras|parole|subject|sujet|motiv|onderwerp",
        r"text|alt$|descri|beschr",
    )
)
_ENTITIES = {
    "description": r"descri|beschr|omschr|d[ée]fini|gloss|scope",
    "aliases": r"alias|synonym|alt.?label|alternati|variant",
    "types": r"types?$|class|klass|[ck]ategor|gattung|oberbegriff|broader",
    "popularity": r"popular|count|anzahl|frequen|häufig|views",
    "english": r"engl|anglais|ingl[eé]s",
    "name": r"name|label|tit[eou]?l|titre|term|bezeichnung|benennung|^nom|naam",
}
"""Column of entities → names that it has; each takes the first column that is left."""
_Columns = Mapping[str, Sequence[str]]


def recognised(pairs: list[str], given: Mapping[str, Any], *, show: bool, ask: bool) -> Mapping[str, Any]:
    """Guess how pairs are read, by the first table; print it as options, and ask by three rows whether it is right.

    Args:
        pairs: shards.
        given: options of the command; those of reading are kept.
        show: print the options.
        ask: ask, on standard error.

    Returns:
        the fields of `ReadSettings`.

    Raises:
        UsageError: nobody says yes, or no column of images or texts was recognised.
        OpenMofiError: as `guessed`.
    """
    names = [each.name for each in fields(ReadSettings)]
    path = shards_of(pairs)[0].path
    read = guessed(path, changed(ReadSettings(), {name: given[name] for name in names if name in given}))
    if show:
        _say(path, read)
    if ask:
        checked = check_pairs(pairs, limit=_CHECKED, settings=read)
        print_pairs([*checked.examples, *checked.unusable][:_SHOWN])
        typer.echo("Is this right? [y/N] ", nl=False, err=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise UsageError("Nobody said that this is right.", "Give the options that are, or --yes.")
    return {name: getattr(read, name) for name in names}


def recognised_entities(source: Path, given: Mapping[str, Any], *, show: bool) -> Mapping[str, Any]:
    """Guess the columns of a table of entities, as far as options leave them open; print them as options.

    Columns are recognised by their names, an identifier because it differs in each row and has digits. Of names in
    several languages the English ones are the names, which encoders read; the others are aliases, found in texts.

    Returns:
        the fields of `TableSettings`.

    Raises:
        OpenMofiError: there are no entities, or the table is damaged.
    """
    path = str(source_files(source)[1]["entities"][0])
    settings = TableSettings(**{name: given[name] for name in TableSettings().as_dict() if name in given})
    if path.endswith(TABLES):
        columns, encoding = _read(path, ReadSettings(encoding=settings.encoding))
        settings = TableSettings(**{**_of_entities(columns, settings.columns), "encoding": encoding})
    if show:
        _say(path, settings)
    return settings.as_dict()


def _of_entities(columns: _Columns, named: dict[str, str]) -> dict[str, str]:
    usual = {name.lower(): name for name in columns if name.lower() in ENTITY_COLUMNS}
    given, named = named.get("name") or usual.get("name"), usual | named
    left = [name for name in columns if name not in named.values()]
    tests: dict[str, Callable[[str], Any]] = {"id": lambda name: _is_key(name, columns[name])}
    tests |= {each: re.compile(names, re.IGNORECASE).search for each, names in _ENTITIES.items()}
    for each, test in tests.items():
        if each not in named and (name := next(filter(test, left), "")):
            named[each] = name
            left.remove(name)
    if english := named.pop("english", ""):
        name, other = (given, english) if given else (english, named.get("name", ""))
        named = {"aliases": other, **named, "name": name}
    return {f"{each}_column": name for each, name in named.items() if name.lower() != each}


def _say(path: str, settings: ReadSettings | TableSettings) -> None:
    said = shell_command(*options(settings.as_dict(), type(settings)().as_dict()))
    typer.echo(f"{path} is read with: {said or 'no option'}")


def guessed(path: str, settings: ReadSettings) -> ReadSettings:
    """Guess from the first 200 rows of a CSV, TSV or JSON-lines table what the settings leave open.

    The image column holds names of image files; `image_root` is the folder that has most of them, of the table's own,
    those up to two levels below it and those beside it. Texts are all columns of words with the name of a title or of
    keywords, in a language of Western Europe, else those of a description, else the one with the most different words.
    A key differs in each row, has digits, and is no text.

    Raises:
        OpenMofiError: the table does not exist or is damaged.
    """
    if not path.endswith(TABLES):
        return settings
    columns, encoding = _read(path, settings)
    image = settings.image_column or _mostly(columns, _is_image)
    images = columns[image] if isinstance(image, str) and image in columns else []
    url = settings.url_column or _mostly(columns, _is_address)
    rest = {
        name: cells
        for name, cells in columns.items()
        if name != image and not any(_mostly({name: cells}, test) for test in (_is_image, _is_address))
    }
    key = settings.key_column or next((name for name in rest if _is_key(name, rest[name])), "")
    rest.pop(str(key), None)
    return replace(
        settings,
        image_column=image,
        url_column=url,
        key_column=key,
        text_column=settings.text_column or _texts(rest),
        image_root=settings.image_root or _folder(path, images),
        encoding=encoding,
    )


def _read(path: str, settings: ReadSettings) -> tuple[dict[str, list[str]], str]:
    """Return the cells of the first rows by column, and the encoding where it has to be said."""
    columns: dict[str, list[str]] = {}
    for names, row in islice(read_records(path, settings), _ROWS):
        for name in names:
            value = row.get(name)
            columns.setdefault(name, []).append("" if value is None else str(value).strip())
    with open_source(path) as raw:
        encoding = encoding_of(raw, path, settings.encoding)
    return columns, "" if encoding in (UTF8, "utf-16") else encoding


def _is_image(cell: str) -> bool:
    return kind_of(cell.rpartition(".")[2].lower()).endswith("image") and not _is_address(cell)


def _is_address(cell: str) -> bool:
    return cell.startswith(_WEB)


def _mostly(columns: _Columns, test: Callable[[str], bool]) -> str:
    """The column in which most cells pass a test, and half of those that say something; "" without one."""
    passed = {name: sum(map(test, cells)) for name, cells in columns.items()}
    best = max(passed, key=lambda name: passed[name], default="")
    return best if best and 2 * passed[best] > sum(map(bool, columns[best])) else ""


def _is_key(name: str, cells: Sequence[str]) -> bool:
    if _NAMING.search(name) or _DESCRIBING.search(name):
        return False
    return len(set(cells)) == len(cells) and all(re.search(r"\d", cell) for cell in cells)


def _texts(columns: _Columns) -> tuple[str, ...]:
    words = {name: {*re.findall(r"[^\W\d_]{2,}", " ".join(cells))} for name, cells in columns.items()}
    for names in (_NAMING, _DESCRIBING):
        if named := tuple(name for name in columns if names.search(name) and words[name]):
            return named
    return tuple(sorted(filter(words.get, columns), key=lambda name: -len(words[name]))[:1])


def _folder(path: str, images: Sequence[str]) -> str:
    if is_remote(path):
        return ""
    own, names = Path(path).parent, [name for name in images if inside(name)]
    below = islice(chain(own.glob("*/"), own.glob("*/*/"), own.parent.glob("*/")), _FOLDERS)
    best = max((own, *below), key=lambda folder: sum((folder / name).is_file() for name in names))
    return "" if best == own else str(best)

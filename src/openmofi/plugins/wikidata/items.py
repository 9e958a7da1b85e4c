"""From a line of a dump to what a knowledge base keeps of an item.

The format: https://doc.wikimedia.org/Wikibase/master/php/docs_topics_json.html. What is not needed is skipped by the
parser and never becomes an object.
"""

import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import pyarrow as pa
from msgspec.structs import astuple

from openmofi.errors import MissingExtraError
from openmofi.plugins.wikidata.wikitext import fallbacks, wiki_code

KIND, PARENT, IMAGE = "P31", "P279", "P18"
DEFAULT_LANGUAGE = "mul"
"""Language code of the labels and aliases that hold in all languages."""

ITEMS = pa.schema(
    [
        ("id", pa.int64()),
        ("revision", pa.int64()),
        ("name", pa.string()),
        ("description", pa.string()),
        ("aliases", pa.list_(pa.string())),
        ("languages", pa.list_(pa.string())),
        ("kinds", pa.list_(pa.int64())),
        ("parents", pa.list_(pa.int64())),
        ("relations", pa.list_(pa.struct([("property", pa.int64()), ("item", pa.int64())]))),
        ("unread", pa.bool_()),
        ("sitelinks", pa.int32()),
        ("image", pa.string()),
        ("titles", pa.list_(pa.struct([("language", pa.string()), ("title", pa.string())]))),
        ("external", pa.list_(pa.struct([("property", pa.int64()), ("value", pa.string())]))),
    ]
)
"""items: what was read of a dump's items. `name` is empty where none of the languages has one; `languages` are, of the
name and of each alias, the codes of those that call it so, with spaces between; `unread` says that values should be
items and none is; `titles` are of the languages' Wikipedias, by their codes, `external` of the properties asked for."""

RELATIONS: dict[str, str] = tomllib.loads(Path(__file__).with_name("relations.toml").read_text("utf-8"))
"""Properties whose items are related closely enough for the coherence of a text, beside P31 and P279."""

_RELATED = [int(name[1:]) for name in RELATIONS]


_LARGEST = 2**63 - 1


class _Text(msgspec.Struct, gc=False):
    value: str


class _Value(msgspec.Struct, gc=False):
    id: str = ""
    number: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)] = msgspec.field(default=-1, name="numeric-id")


class _DataValue(msgspec.Struct, gc=False):
    value: _Value | str | int | float | bool | None = None


class _Snak(msgspec.Struct, gc=False):
    snaktype: str = "value"
    datavalue: _DataValue | None = None


class _Statement(msgspec.Struct, gc=False):
    mainsnak: _Snak
    rank: str = "normal"


class _Sitelink(msgspec.Struct, gc=False):
    title: str


Row = TypeVar("Row")
_ROWS = 512
_NO_CLAIMS = ((), (), ())
_Empty = list[None]
"""PHP writes a map without entries as an empty list."""


class _Entity(msgspec.Struct, gc=False):
    id: str
    type: str = "item"
    lastrevid: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)] = 0
    labels: dict[str, _Text] | _Empty = {}
    descriptions: dict[str, _Text] | _Empty = {}
    aliases: dict[str, list[_Text]] | _Empty = {}
    sitelinks: dict[str, _Sitelink] | _Empty = {}
    sitelink_count: int = 0
    claims: Any = None


def _entity_with(external: Sequence[str]) -> type[_Entity]:
    """Return an entity type whose claims have these properties too; the parser skips all others."""
    names = dict.fromkeys((KIND, PARENT, IMAGE, *RELATIONS, *external))
    claims: Any = msgspec.defstruct("_Claims", [(name, list[_Statement], ()) for name in names], gc=False)
    entity: Any = msgspec.defstruct(
        "_ReadEntity", [("claims", claims | _Empty, msgspec.field(default_factory=list))], bases=(_Entity,), gc=False
    )
    return entity


@dataclass(frozen=True)
class Broken:
    """A line that cannot be read.

    Attributes:
        line: its number in the block, from 0.
        why: what is wrong with it.
        start: its first characters.
    """

    line: int
    why: str
    start: str


class ItemReader:
    """Reads items.

    Args:
        languages: codes, the preferred one first; see `label_order`.
        external: properties such as `P214`, whose values are text.
        transliterate: codes of languages whose names are aliases in Latin letters too.

    Raises:
        MissingExtraError: `anyascii`, which writes them in Latin letters, is not installed.
    """

    def __init__(
        self, languages: Sequence[str], external: Sequence[str] = (), transliterate: Sequence[str] = ()
    ) -> None:
        self._order = label_order(languages)
        self._languages = [code for code, language in self._order.items() if code == language]
        self._transliterated = frozenset(transliterate)
        self._latin = latin_letters() if transliterate else str
        self._wikis = {f"{wiki.replace('-', '_')}wiki": wiki for wiki in map(wiki_code, languages)}
        self._external = [(name, property_number(name)) for name in external]
        self._kind = _entity_with(external)
        self._decoder = msgspec.json.Decoder(self._kind)

    def read(self, lines: Iterable[bytes]) -> tuple[pa.Table, list[Broken], int]:
        """Read lines: their items (`ITEMS`), the unreadable lines, and the number of other entities.

        The array's brackets, empty lines and the commas that end lines are no part of an entity.
        """
        texts = ((number, line.rstrip(b" \t\r\n,")) for number, line in enumerate(lines))
        return self._read(
            ((number, text) for number, text in texts if text and text not in (b"[", b"]")),
            lambda text: self._decoder.decode(text.removeprefix(b"[").removesuffix(b"]")),
            lambda text: text[:80].decode("utf-8", "replace"),
        )

    def read_objects(self, rows: Iterable[Row], entity: Callable[[Row], Any]) -> tuple[pa.Table, list[Broken], int]:
        """As `read`, for rows that are not lines of a dump.

        Args:
            rows: of whatever holds an entity.
            entity: makes of a row what a dump's JSON would be, parsed, and the number of sitelinks, `sitelink_count`,
                where that is all that is known of them.
        """
        return self._read(
            enumerate(rows), lambda row: msgspec.convert(entity(row), self._kind), lambda row: str(row)[:80]
        )

    def _read(
        self, numbered: Iterable[tuple[int, Row]], parse: Callable[[Row], _Entity], excerpt: Callable[[Row], str]
    ) -> tuple[pa.Table, list[Broken], int]:
        rows, tables, broken, others = list[dict[str, Any]](), [ITEMS.empty_table()], list[Broken](), 0
        for number, given in numbered:
            if len(rows) == _ROWS:  # dicts take ten times the table's memory
                tables.append(pa.Table.from_pylist(rows, ITEMS))
                rows.clear()
            try:
                if row := self._row(parse(given)):
                    rows.append(row)
                else:
                    others += 1
            except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
                broken.append(Broken(number, str(error), excerpt(given)))
        tables.append(pa.Table.from_pylist(rows, ITEMS))
        return pa.concat_tables(tables), broken, others

    def _row(self, entity: _Entity) -> dict[str, Any] | None:
        if entity.type != "item":
            return None
        labels, aliases = _mapped(entity.labels), _mapped(entity.aliases)
        labelled = list[tuple[str, str]]()
        for code, language in self._order.items():
            if code in labels and (code == language or not labelled):
                labelled.append((labels[code].value, language))
        other = [
            (alias.value, language)
            for language in self._languages
            if language in aliases
            for alias in aliases[language]
        ]
        called = dict[str, str]()
        for text, language in (*labelled, *other):
            if name := _plain(text):
                called[name] = f"{called[name]} {language}" if name in called else language
        for name, codes in list(called.items()) if self._transliterated else ():
            for language in self._transliterated.intersection(codes.split()) if not name.isascii() else ():
                if (latin := _plain(self._latin(name))) and language not in called.get(latin, "").split():
                    called[latin] = f"{called[latin]} {language}" if latin in called else language
        names = list(called)
        descriptions, links = _mapped(entity.descriptions), _mapped(entity.sitelinks)
        claims: tuple[Sequence[_Statement], ...] = (
            _NO_CLAIMS if isinstance(entity.claims, list) else astuple(entity.claims)
        )
        kinds, parents, images, *related = claims
        relations = [
            {"property": number, "item": item}
            for number, statements in zip(_RELATED, related, strict=False)
            if statements
            for item in _items(statements)
        ]
        classes = _items(kinds), _items(parents)
        return {
            "id": item_number(entity.id),
            "revision": entity.lastrevid,
            "name": names[0] if labelled and names else "",
            "description": next((_plain(descriptions[code].value) for code in self._order if code in descriptions), ""),
            "aliases": names[1:] if labelled else names,
            "languages": list(called.values()),
            "kinds": classes[0],
            "parents": classes[1],
            "relations": relations,
            "unread": not (any(classes) or relations) and any(map(best, (kinds, parents, *related[: len(_RELATED)]))),
            "sitelinks": len(links) or entity.sitelink_count,
            "image": next(iter(_texts(images)), None),
            "titles": [
                {"language": code, "title": links[wiki].title} for wiki, code in self._wikis.items() if wiki in links
            ],
            "external": [
                {"property": number, "value": value}
                for name, number in self._external
                for value in dict.fromkeys(_texts(getattr(entity.claims, name, ())))
            ],
        }


def label_order(languages: Sequence[str]) -> dict[str, str]:
    """Return the codes whose labels name an item, the preferred one first, each with the language that it stands for.

    They are the first language, those that it falls back to, `DEFAULT_LANGUAGE`, and the others in the same way. A
    code that stands for another language names only what has no label before.
    """
    order = dict[str, str]()
    for language in languages:
        for code in (language, *fallbacks(language), DEFAULT_LANGUAGE):
            order.setdefault(code, code if code in (*languages, DEFAULT_LANGUAGE) else language)
    return order


def latin_letters() -> Callable[[str], str]:
    """Writes a text in Latin letters, of ASCII.

    Raises:
        MissingExtraError: the library that does is not installed.
    """
    try:
        from anyascii import anyascii
    except ImportError as error:
        raise MissingExtraError.of("anyascii", "wikidata") from error
    return anyascii


def item_number(entity_id: str) -> int:
    """Return the number in an item's id: 42 of `Q42`.

    Raises:
        ValueError: it is no item's id.
    """
    if entity_id[:1] == "Q" and (digits := entity_id[1:]).isdecimal() and (number := int(digits)) <= _LARGEST:
        return number
    raise ValueError(f"{entity_id!r} is no item's id")


def property_number(name: str) -> int:
    """Return the number in a property's id: 214 of `P214`.

    Raises:
        ValueError: it is no property's id.
    """
    number = int(name[1:]) if name[:1] == "P" and name[1:].isdecimal() else -1
    if number < 0:
        raise ValueError(f"{name!r} is no property's id")
    return number


def best(statements: Sequence[_Statement]) -> list[_Value | str | int | float | bool | None]:
    """Return the values of the preferred statements, else of the normal ones, without unknown values."""
    if len(statements) > 1:
        preferred = [each for each in statements if each.rank == "preferred"]
        statements = preferred or [each for each in statements if each.rank == "normal"]
    return [
        each.mainsnak.datavalue.value
        for each in statements
        if each.rank != "deprecated" and each.mainsnak.snaktype == "value" and each.mainsnak.datavalue is not None
    ]


def _items(statements: Sequence[_Statement]) -> list[int]:
    """Return the items among the values, each once; old dumps and answers of the API have their numbers alone."""
    numbers = [
        item_number(value.id) if value.id else value.number
        for value in (best(statements) if statements else ())
        if isinstance(value, _Value) and (value.id[:1] == "Q" or (not value.id and value.number >= 0))
    ]
    return numbers if len(numbers) < 2 else list(dict.fromkeys(numbers))


def _texts(statements: Sequence[_Statement]) -> list[str]:
    return [value for value in best(statements) if isinstance(value, str)]


def _mapped(value: dict[str, Any] | _Empty) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _plain(text: str) -> str:
    """Return a text without line ends and doubled spaces, which some labels have."""
    return " ".join(text.split())

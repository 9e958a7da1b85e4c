"""Which things of several sources are one: by evidence, never by the name alone.

Two things are one where they have a name in common, a kind in common (a country and an American state have none, nor
have a fruit and a company), what is said of the one names where the other lies, if it is a place that has namesakes,
and neither has a second counterpart. What is left in doubt stays two entities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from openmofi.plugins.starter.things import Nouns, Thing, keys_of

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


def _lies(place: Thing, other: Thing) -> bool:
    return not place.place or any(f" {key} " in other.context for key in place.place)


@dataclass
class SameAs:
    """What was found to be one, source by source.

    Attributes:
        into: identifier → the one that it goes by, of an earlier source.
    """

    into: dict[str, str] = field(default_factory=dict)

    def kept(self, entity_id: str) -> str:
        """The identifier that a thing goes by."""
        return self.into.get(entity_id, entity_id)

    def join(self, lefts: Iterable[Thing], find: Find) -> None:
        """Let things of a source go by those of earlier sources, where they are one and nothing is in doubt."""
        found: dict[str, set[str]] = {}
        lefts = [left for left in lefts if left.id not in self.into]
        for left in lefts:
            # By other names only what the preferred one does not find: West Germany is one of Germany's.
            found[left.id] = next(
                filter(
                    None,
                    (
                        {self.kept(right.id) for key in keys for right in find(key) if is_one(left, right)}
                        for keys in (keys_of((left.name,)), keys_of(left.aliases))
                    ),
                ),
                set(),
            )
        claims: dict[str, int] = {}
        for rights in found.values():
            for right in rights:
                claims[right] = claims.get(right, 0) + 1
        self.into |= {
            left: right for left, rights in found.items() if len(rights) == 1 for right in rights if claims[right] == 1
        }

    def pairs(self) -> list[tuple[str, str]]:
        """Rows (identifier that is kept, identifier that goes)."""
        return sorted((kept, gone) for gone, kept in self.into.items())


def found_among(things: Sequence[Thing]) -> Find:
    """Look-up by name among things."""
    index: dict[str, list[Thing]] = {}
    for thing in things:
        for key in thing.name_keys:
            index.setdefault(key, []).append(thing)
    return lambda key: index.get(key, [])


def found_in(nouns: Nouns, taken: Iterable[str] = ()) -> Find:
    """Look-up by name among WordNet's nouns but those that are `taken`."""
    things: dict[str, Thing] = {}
    gone = set(taken)

    def find(key: str) -> list[Thing]:
        return [
            things[each] if each in things else things.setdefault(each, nouns.thing(each))
            for each in nouns.by_key.get(key, ())
            if each not in gone
        ]

    return find

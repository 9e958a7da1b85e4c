"""How many images of a search have which type, entity, probability, verdict, folder, date and other columns.

A count says how many images are left when its value is filtered by, near-duplicates among them.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import numpy as np

from openmofi.arrays import Array
from openmofi.search.index import Index
from openmofi.search.query import Filters, Query
from openmofi.search.rank.ranking import EVERY, IMAGES, SAID, condition_of, date_of, labelled
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import column_of
from openmofi.search.store.reading import entity_records

_MOST, _MOST_VALUES, _MOST_COLUMNS = 1000, 12, 6
_LEAST = (0.95, 0.9, 0.8, 0.5)
_LICENCE = ("licence", "license")


@dataclass(frozen=True)
class Value:
    """A value that a filter takes.

    Attributes:
        value: as the filter takes it; of `date` a year or a month, such as 2024-05.
        name: what people call it; an identifier's name.
        images: how many are left with it.
    """

    value: str
    name: str
    images: int


@dataclass(frozen=True)
class Facets:
    """The counts of a search.

    Attributes:
        images: how many were counted, near-duplicates among them.
        ranked: whether these are the best results, up to the end of what is likely and at most 1000, not all that pass
            the filters.
        values: filter → its values; of a further column as `column.NAME`. Filters that are set are
            left out, but for folders and dates, which go on with what is inside.
    """

    images: int
    ranked: bool
    values: dict[str, tuple[Value, ...]]


def facets_of(index: Index, query: Query, vector: Array | None) -> Facets:
    """Count the images of a search.

    Args:
        index: that is searched.
        query: page and order do not matter.
        vector: see `Index.search`.

    Raises:
        OpenMofiError: as `Index.search`.
    """
    chosen = ""
    if query.has_vector:
        results = index.search(replace(query, limit=_MOST, offset=0), vector)
        hits = results.hits if results.end is None else results.hits[: results.end]
        ids = [image for hit in hits for image in (hit.image.id, *hit.duplicates)]
        chosen = f" AND images.id IN ({', '.join(map(str, ids)) or '0'})"
    counted = _Counted(index.connection, query.filters, chosen)
    names = column_of(index.connection, index.connection.column_names)
    values = {**counted.labels(), **counted.rest("date" in names), **counted.columns(names)}
    asked = {**vars(query.filters), **{f"column.{name}": value for name, value in query.filters.columns.items()}}
    asked["folder"] = ""
    kept = {name: tuple(some) for name, some in values.items() if not asked.get(name) and some}
    return Facets(counted.images, query.has_vector, kept)


class _Counted:
    """Counts over images that pass filters and are chosen."""

    def __init__(self, connection: Connection, filters: Filters, chosen: str) -> None:
        self._connection, self._filters, self._chosen = connection, filters, chosen
        self._where, self._values = self._passing(filters)
        self.images: int
        ((self.images,),) = self._rows("count(*)", IMAGES)

    def _passing(self, filters: Filters) -> tuple[str, dict[str, object]]:
        where, values = condition_of(self._connection, filters)
        return where + self._chosen, values

    def _rows(self, what: str, source: str, more: str = "", **values: object) -> Iterator[Any]:
        statement = f"SELECT {what} FROM {source} WHERE {self._where} {more}"
        return iter(self._connection.execute(statement, {**self._values, **values}))

    def labels(self) -> dict[str, list[Value]]:
        """Types, entities and probabilities: of a label that has all that is asked of it."""
        filters = self._filters
        where, values = self._passing(replace(filters, entity="", type="", min_probability=0.0))
        asked = {"entity": filters.entity, "type": filters.type, "probability": filters.min_probability}

        def rows(what: str, label: Filters, more: str, **values_: object) -> list[Any]:
            # By `+` SQLite does not look for every image with every entity in the primary key.
            inside = f"AND +labels.image IN (SELECT images.id FROM {IMAGES} WHERE {where})" if where != EVERY else ""
            statement = f"SELECT {what} WHERE {labelled(label)} {inside} {more}"
            return list(self._connection.execute(statement, {**values, **asked, **values_}))

        most = f"ORDER BY 2 DESC, 1 LIMIT {_MOST_VALUES}"
        some = "count(DISTINCT labels.image)"
        types = rows(
            f"types.type, {some} FROM labels JOIN types ON types.entity = labels.entity", filters, f"GROUP BY 1 {most}"
        )
        commonest = [row[0] for row in rows(f"labels.entity, {some} FROM labels", filters, f"GROUP BY 1 {most}")]
        # An entity stands for those below it, too.
        known = {f"entity{number}": entity for number, entity in enumerate(commonest)}
        among = f"IN ({', '.join(f':{name}' for name in known) or 'NULL'})"
        below = (
            f"SELECT id AS meant, id AS entity FROM entities WHERE id {among} "
            f"UNION SELECT above, entity FROM supertypes WHERE above {among}"
        )
        entities = rows(
            f"below.meant, {some} FROM ({below}) AS below JOIN labels ON labels.entity = below.entity",
            filters,
            f"GROUP BY 1 {most}",
            **known,
        )
        names = entity_records(self._connection, [*commonest, *(row[0] for row in types)])
        least = replace(filters, min_probability=_LEAST[-1])
        best = rows("max(labels.probability) FROM labels", least, "GROUP BY labels.image", probability=_LEAST[-1])
        enough = [(f"{each:g}", int((np.array(best, float) >= each).sum())) for each in _LEAST]

        def named(counts: Iterable[Sequence[Any]]) -> list[Value]:
            return [Value(value, names[value].name if value in names else value, n) for value, n in counts if n]

        return {"type": named(types), "entity": named(entities), "min_probability": named(enough)}

    def rest(self, dated: bool) -> dict[str, list[Value]]:
        """Verdicts, folders and dates."""
        verdicts = self._rows("verdict, count(DISTINCT images.id)", SAID, "GROUP BY 1 ORDER BY 1 DESC")
        folders = Counter[tuple[str, str]]()
        for path, images in self._rows("sources.path, count(*)", IMAGES, "AND images.file IS NULL GROUP BY 1"):
            folders[path, path] = images
        for path, file in self._rows("sources.path, images.file", IMAGES, "AND images.file IS NOT NULL"):
            folders[path, os.fsdecode(bytes(file)).rpartition("/")[0]] += 1
        inside = {"folder": _plain(_below(folders)), "date": self._dates() if dated else []}
        narrower = {name: [each for each in some if each.images < self.images] for name, some in inside.items()}
        return {"verdict": _plain(verdicts), **narrower}

    def _dates(self) -> list[Value]:
        """Years, newest first; months where there is one year."""
        date = f"substr({date_of(self._connection)}, 1, 8)"
        days = self._rows(f"{date}, count(*)", IMAGES, "GROUP BY 1 ORDER BY 1 DESC", date="date")
        dated = [(day, images) for day, images in days if re.fullmatch(r"\d{4}(0[1-9]|1[0-2])\d\d", str(day))]
        one_year = len({day[:4] for day, _ in dated}) == 1
        counts = Counter[str]()
        for day, images in dated:
            counts[f"{day[:4]}-{day[4:6]}" if one_year else day[:4]] += images
        return _plain(counts.items())

    def columns(self, names: Sequence[str]) -> dict[str, list[Value]]:
        """Values of further columns that several images share, whatever the case of A–Z; a star would be a pattern."""
        licence = next((name for name in names if name in _LICENCE), "")
        others = [name for name in names if name not in (*_LICENCE, "date")][:_MOST_COLUMNS]
        wanted = {"licence": licence} if licence else {}
        wanted |= {f"column.{name}": name for name in others}
        counts = {}
        for name, column in wanted.items():
            value = self._connection.column("counted")
            usable = f"count(*) > 1 AND min({value}) <> '' AND min({value}) NOT LIKE '%*%'"
            shared = f"GROUP BY lower({value}) HAVING {usable} ORDER BY 2 DESC, 1 LIMIT {_MOST_VALUES}"
            counts[name] = _plain(self._rows(f"CAST(min({value}) AS TEXT), count(*)", IMAGES, shared, counted=column))
        return counts


def _plain(counts: Iterable[tuple[Any, int]]) -> list[Value]:
    return [Value(str(value), str(value), images) for value, images in counts]


def _below(folders: Counter[tuple[str, str]]) -> list[tuple[str, int]]:
    """The folders right below the one that all images have in common, those with most images first.

    Args:
        folders: of source and image → images; an image is in both.
    """
    names = zip(*(folder.split("/") for _, folder in folders), strict=False)
    above = [some[0] for some in takewhile(lambda some: len(set(some)) == 1, names)]
    counts = Counter[str]()
    for pair, images in folders.items():
        split = [folder.split("/") for folder in pair]
        inside = [some for some in split if len(some) > len(above) and some[: len(above)] == above]
        for folder in {"/".join(some[: len(above) + 1]) for some in inside}:
            counts[folder] += images
    return counts.most_common(_MOST_VALUES)

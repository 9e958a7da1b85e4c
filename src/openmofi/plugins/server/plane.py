"""The map of a collection as the page shows it: a summary, tiles as columns of bytes, and what a lasso chooses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from threading import Lock
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct

from openmofi.arrays import Bools, Doubles, Ints
from openmofi.plugins.map.tiles import CAP, DEEPEST, packed, unpacked, whole_of
from openmofi.plugins.server.messages import Refused
from openmofi.search.mapping import LEAST, has_tiles, without_place
from openmofi.search.rank.ranking import SAID
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import content_of, meta, rows_in, snapshot
from openmofi.storage import fingerprint

SIDE = 65_536
"""Coordinates are from 0 to this, y downwards."""
TYPES = 6
"""Most types that have a colour: more colours could not be told apart by everybody."""
MOST_CHOSEN = 100_000
"""Images that are named of those that a lasso chooses."""
_NAMED = 4
_ROWS = 65_536
_LARGEST = 2**16 - 1
_VERDICTS = {"y": 1, "n": 2, "u": 3}
_TOP = """(SELECT entity FROM labels AS top WHERE top.image = map.image AND accepted = 1
    ORDER BY probability DESC, entity LIMIT 1)"""
"""The likeliest label of an image of the map, in SQL; NULL for none."""

Coordinate = Annotated[float, Meta(ge=-1e6, le=1e6)]
Corner = tuple[Coordinate, Coordinate]


@dataclass(frozen=True)
class MapType:
    """A type that has a colour.

    Attributes:
        type: its name.
        images: how many images on the map are of it.
    """

    type: str
    images: int


@dataclass(frozen=True)
class MapArea:
    """An area of the map.

    Attributes:
        images: how many it has.
        entities: names of those with most labels in it, most first.
        type: its commonest type of those that have a colour, or "".
        x, y: its middle.
    """

    images: int
    entities: tuple[str, ...]
    type: str
    x: int
    y: int


@dataclass(frozen=True)
class MapAnswer:
    """What a map shows; where each image lies is in its tiles. Coordinates are 0 to 65536, y downwards.

    Attributes:
        images: how many it has.
        bounds: left, top, right, bottom of all of them.
        tiles: level, x, y and number of images of each tile that has any. A tile of level L has the side
            65536 / 2^min(L, deepest), and no image of a tile of another level.
        deepest: level from which on tiles are of one size.
        types: those of most images, most first; after these in tiles come other types, and then no label.
        other, unlabelled: images of other types, and without a label.
        areas: those of most images first.
        missing: images that came after the map was made.
        state: which tiles are asked for with; another one for another map, and when a command has added or removed.
        note: a sentence for the user where there is no map, or "".
    """

    images: int
    bounds: tuple[int, int, int, int]
    tiles: list[tuple[int, int, int, int]]
    deepest: int
    types: list[MapType]
    other: int
    unlabelled: int
    areas: list[MapArea]
    missing: int
    state: int
    note: str = ""


@dataclass(frozen=True)
class MapChosen:
    """What a lasso or an area of the map chooses.

    Attributes:
        total: how many images.
        images: their ids, ascending, at most 100,000.
    """

    total: int
    images: list[int]


@dataclass(frozen=True)
class MapPlaces:
    """Where images lie; those that are not on the map are left out.

    Attributes:
        images: ids, ascending.
        x, y: see `MapAnswer`.
    """

    images: list[int]
    x: list[float]
    y: list[float]


class ChoiceBody(Struct, forbid_unknown_fields=True):
    """The corners of a lasso, or else an area by its position."""

    lasso: Annotated[tuple[Corner, ...], Meta(max_length=512)] = ()
    area: Annotated[int, Meta(ge=0, le=2**31)] = 0


@dataclass(frozen=True)
class _Summary:
    """An answer, with the colour of each entity and the position of each area."""

    answer: MapAnswer
    codes: dict[str, int]
    areas: Mapping[int, int]


@dataclass
class Plane:
    """The map of a server's index: its summary, which takes seconds for millions of images, is kept for a state of the
    map, and the verdicts on it until there is another one or another commit. Threads may share it.
    """

    _lock: Lock = field(default_factory=Lock)
    _summary: _Summary | None = None
    _said: tuple[object, dict[int, int]] = (None, {})

    def answer(self, connection: Connection) -> MapAnswer:
        """What the map shows, and how many images have come meanwhile.

        Raises:
            Refused: the map is damaged (404).
        """
        with snapshot(connection), _readable():
            answer = self._summarised(connection).answer
            if not answer.images:
                return answer
            ((placed,),) = connection.execute("SELECT count(*) FROM map")
            return replace(answer, missing=without_place(connection, placed))

    def _summarised(self, connection: Connection) -> _Summary:
        """The summary of the map as it is; only those who need another one wait while it is made."""
        state, kept = _state(connection), self._summary
        if kept is None or kept.answer.state != state:
            with self._lock:
                kept = self._summary
                if kept is None or kept.answer.state != state:
                    kept = _summary_of(connection, state)
                    if kept.answer.images:
                        self._summary = kept
        return kept

    def tile(self, connection: Connection, state: int, level: int, x: int, y: int) -> bytes:
        """The images of a tile in their random order, as little-endian columns one behind another: ids (float64), x and
        y in 65536ths of its side and areas (uint16), types, probabilities of the likeliest label (0 for none, then
        1 to 255) and last verdicts (0 none, 1 right, 2 wrong, 3 unsure; uint8).

        Raises:
            Refused: the state is not that of the map (409), or the map is damaged (404).
        """
        with snapshot(connection), _readable():
            if state != _state(connection):
                raise Refused(409, "The map has changed.", "Ask for the map again.")
            summary = self._summarised(connection)
            if not summary.answer.images:
                return b""
            rows = connection.execute(
                f"SELECT map.image, x, y, area, labels.entity, labels.probability FROM map LEFT JOIN labels "
                f"ON labels.image = map.image AND labels.entity = {_TOP} WHERE tile = ? ORDER BY place LIMIT {CAP}",
                (packed(level, x, y),),
            ).fetchall()
            return _columns(rows, (level, x, y), summary, self._verdicts(connection))

    def _verdicts(self, connection: Connection) -> dict[int, int]:
        """Image → the last verdict on it, as a tile has it."""
        # Another one with every verdict, and every one that is taken back.
        counts = connection.execute("SELECT count(*), sum(undone) FROM verdicts").fetchone()
        state, kept = (content_of(connection), counts), self._said
        if kept[0] != state:
            rows = connection.execute(f"SELECT images.id, verdict FROM {SAID} ORDER BY verdicts.id")
            kept = self._said = (state, {image: _VERDICTS[verdict] for image, verdict in rows})
        return kept[1]

    def chosen(self, connection: Connection, choice: ChoiceBody) -> MapChosen:
        """The images inside a lasso, by the even-odd rule, or in an area.

        Raises:
            Refused: a lasso of two corners (422), or the map is damaged (404).
        """
        if 0 < len(choice.lasso) < 3:
            raise Refused(422, "A lasso has three corners or more.")
        with snapshot(connection), _readable():
            if not has_tiles(connection):
                return MapChosen(0, [])
            if choice.lasso:
                images = _lassoed(connection, np.array(choice.lasso))
            else:
                areas = self._summarised(connection).areas
                number = next((each for each, at in areas.items() if at == choice.area), None)
                rows = connection.execute("SELECT image FROM map WHERE area = ?", (number,))
                images = np.fromiter((image for (image,) in rows), np.int64)
            return MapChosen(len(images), np.sort(images)[:MOST_CHOSEN].tolist())


@contextmanager
def _readable() -> Generator[None]:
    """Refuse a map of others whose numbers are none: SQLite keeps what it is given."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        raise Refused(
            404, f"The map of this index is damaged: {error}.", "Make it again with: openmofi index map INDEX."
        ) from error


def _state(connection: Connection) -> int:
    """An identifier of the map and of what it says of images: another one for another index, after another map, and
    once a command is through that adds or removes images, not after each of its commits.
    """
    row = "SELECT id, made, what, changes FROM commits WHERE what {} ORDER BY id DESC LIMIT 1"
    commits = [connection.execute(row.format(which)).fetchone() for which in ("= 'map'", "<> 'add'")]
    return int(fingerprint([meta(connection)["fingerprint"], *commits])[:12], 16)


def _columns(
    rows: Sequence[Sequence[Any]], tile: tuple[int, int, int], summary: _Summary, said: Mapping[int, int]
) -> bytes:
    """See `Plane.tile`; of each row image, x, y, area, likeliest label and its probability."""
    images, xs, ys, areas, entities, probabilities = zip(*rows, strict=True) if rows else ((),) * 6
    level, *corner = tile
    inside = whole_of(np.array([xs, ys], float).T) * 2 ** min(level, DEEPEST) - corner
    # An entity that came after the summary was made is of no type that has a colour.
    other = len(summary.answer.types)
    codes = summary.codes | {None: other + 1}
    columns = (
        np.array(images, "<f8"),
        *(inside * 2**16).clip(0, _LARGEST).astype("<u2").T,
        np.array([min(summary.areas.get(area, 0), _LARGEST) for area in areas], "<u2"),
        np.array([codes.get(each, other) for each in entities], "<u1"),
        np.array([0 if each is None else 1 + round(254 * min(max(each, 0), 1)) for each in probabilities], "<u1"),
        np.array([said.get(image, 0) for image in images], "<u1"),
    )
    return b"".join(column.tobytes() for column in columns)


def _lassoed(connection: Connection, corners: Doubles) -> Ints:
    """The images inside a lasso of (n, 2) corners as the page has them."""
    left, top, right, bottom = _units(np.concatenate([corners.min(0), corners.max(0)]).reshape(2, 2)).ravel()
    rows = connection.execute(
        "SELECT image, x, y FROM map WHERE x BETWEEN ? AND ? AND y BETWEEN ? AND ?",
        (float(left), float(right), float(bottom), float(top)),
    )
    found = [np.zeros(0, np.int64)]
    cursor = iter(rows)
    while block := list(islice(cursor, _ROWS)):
        table = np.array(block, [("image", "i8"), ("x", "f8"), ("y", "f8")])
        found.append(table["image"][_inside(np.stack([table["x"], table["y"]], 1), _units(corners))])
    return np.concatenate(found)


def places_of(connection: Connection, images: Sequence[int]) -> MapPlaces:
    """Where images lie.

    Raises:
        Refused: the map is damaged (404).
    """
    with snapshot(connection), _readable():
        if not has_tiles(connection):
            return MapPlaces([], [], [])
        rows = sorted(rows_in(connection, "SELECT image, x, y FROM map WHERE image IN ({})", images))
        x, y = (whole_of(np.array([row[1:] for row in rows], float).reshape(-1, 2)) * SIDE).round(2).T.tolist()
        return MapPlaces([image for image, *_ in rows], x, y)


def _units(places: Doubles) -> Doubles:
    """(n, 2) coordinates of the page → of the database."""
    units: Doubles = (places / SIDE * 2 - 1) * (1, -1)
    return units


def _inside(points: Doubles, corners: Doubles) -> Bools:
    """(n,) which points are inside a polygon, by the even-odd rule."""
    odd = np.zeros(len(points), bool)
    x, y = points.T
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, 1, 0), strict=True):
        if y1 != y2:
            odd ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return odd


def _summary_of(connection: Connection, state: int) -> _Summary:
    tiles = list[Any]()
    if has_tiles(connection):
        tiles = connection.execute("SELECT tile, count(*) FROM map GROUP BY tile ORDER BY tile").fetchall()
    images = sum(count for _, count in tiles)
    missing = without_place(connection, images)
    if not images:
        note = "This index has no map yet. Make it with: openmofi index map INDEX."
        if "map" in meta(connection):
            note = "The map of this index was made by an older version. Make it again with: openmofi index map INDEX."
        if missing < LEAST:
            note = f"A map takes {LEAST} images or more, and this index has {missing}."
        return _Summary(MapAnswer(0, (0, 0, SIDE, SIDE), [], DEEPEST, [], 0, 0, [], missing, state, note), {}, {})
    kinds: dict[str, list[str]] = {}
    for entity, kind in connection.execute("SELECT entity, type FROM types ORDER BY entity, type"):
        kinds.setdefault(entity, []).append(kind)
    names = dict(connection.execute("SELECT id, name FROM entities"))
    groups = connection.execute(
        f"SELECT area, entity, count(*), sum(x), sum(y) FROM (SELECT area, x, y, {_TOP} AS entity FROM map) AS topped "
        "GROUP BY area, entity ORDER BY area, entity"
    ).fetchall()
    counts: Counter[str] = Counter()
    for _, entity, count, *_ in groups:
        counts[entity or ""] += count
    types, codes = _typed(counts, kinds)
    unlabelled = counts[""]
    # Numbered anew where some are missing, so that there are never more areas than images.
    numbers = {area: position for position, area in enumerate(sorted({area for area, *_ in groups}))}
    ((left, right, bottom, top),) = connection.execute("SELECT min(x), max(x), min(y), max(y) FROM map")
    corners = (whole_of(np.array([[left, top], [right, bottom]], float)) * SIDE).round().astype(int)
    answer = MapAnswer(
        images,
        tuple(corners.ravel().tolist()),
        [(*unpacked(tile), min(count, CAP)) for tile, count in tiles],
        DEEPEST,
        types,
        images - unlabelled - sum(each.images for each in types),
        unlabelled,
        [_area([row[1:] for row in groups if row[0] == area], types, codes, names) for area in numbers],
        missing,
        state,
    )
    return _Summary(answer, codes, numbers)


def _typed(entities: Mapping[str, int], kinds: Mapping[str, list[str]]) -> tuple[list[MapType], dict[str, int]]:
    """The types of most images, and each entity's: of those that it has, the one of most images."""
    counts: Counter[str] = Counter()
    for entity, images in entities.items():
        counts.update(dict.fromkeys(kinds.get(entity, ()), images))

    def order(kind: str) -> tuple[int, str]:
        return -counts[kind], kind

    top = {entity: min(kinds[entity], key=order) for entity in entities if kinds.get(entity)}
    totals: Counter[str] = Counter()
    for entity, kind in top.items():
        totals[kind] += entities[entity]
    common = sorted(totals, key=lambda kind: (-totals[kind], kind))[:TYPES]
    position = {kind: number for number, kind in enumerate(common)}
    codes = {entity: position.get(top.get(entity, ""), len(common)) for entity in entities} | {"": len(common) + 1}
    return [MapType(kind, totals[kind]) for kind in common], codes


def _area(
    groups: Sequence[Sequence[Any]], types: Sequence[MapType], codes: Mapping[str, int], names: Mapping[str, str]
) -> MapArea:
    """An area of groups of images: entity of their likeliest label, how many, sums of x and y."""
    images = sum(count for _, count, *_ in groups)
    labels = sorted(((entity, count) for entity, count, *_ in groups if entity), key=lambda each: -each[1])
    colours: Counter[int] = Counter()
    for entity, count, *_ in groups:
        colours[codes[entity or ""]] += count
    top = colours.most_common(1)[0][0]
    sums = np.array([[x, y] for *_, x, y in groups], float).sum(0)
    x, y = (whole_of(sums[None] / images)[0] * SIDE).round().astype(int).tolist()
    named = tuple(names.get(entity, entity) for entity, _ in labels[:_NAMED])
    return MapArea(images, named, types[top].type if top < len(types) else "", x, y)

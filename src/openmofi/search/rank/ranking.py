"""Ranking: nearest vectors and keywords, by probability or reciprocal rank; filtered, near-duplicates folded."""

import os
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from openmofi.arrays import Array, Doubles, Ints
from openmofi.features.store import content_digits
from openmofi.search.query import Filters, Query
from openmofi.search.rank.calibration import LIKELY, OF_IMAGES, end_of, expected_precision, uncalibrated
from openmofi.search.rank.folding import folded_into
from openmofi.search.rank.queries import Meaning, as_entity, images_by_text, judged_for, meaning_of, unknown_entity
from openmofi.search.rank.state import State
from openmofi.search.records import Hit, Results
from openmofi.search.store.connection import Connection
from openmofi.search.store.database import column_of
from openmofi.search.store.reading import entity_records, image_records

_KNOWN = """SELECT EXISTS (SELECT 1 FROM entities WHERE id = :entity)
    OR EXISTS (SELECT 1 FROM supertypes WHERE above = :entity)
    OR EXISTS (SELECT 1 FROM labels WHERE entity = :entity)"""


EVERY = "1 = 1"
IMAGES = "images JOIN sources ON sources.id = images.source"
SAID = f"""{IMAGES} JOIN verdicts ON verdicts.shard = sources.shard AND verdicts.key = images.key AND verdicts.id IN (
    SELECT max(id) FROM verdicts WHERE undone = 0 GROUP BY shard, key, entity)"""
"""Images with the last verdict on each of their labels."""


def date_of(connection: Connection) -> str:
    """The column of the value `date`: 2024-05-01T10:00, 20240501 and EXIF's 2024:05:01 10:00 are the same day."""
    return f"replace(replace({connection.column('date')}, '-', ''), ':', '')"


def images_within(connection: Connection, filters: Filters) -> Ints:
    """(n,) ids of the images that pass, ascending.

    Raises:
        UnknownEntityError: as `condition_of`.
    """
    where, values = condition_of(connection, filters)
    return np.array(
        column_of(connection, f"SELECT images.id FROM {IMAGES} WHERE {where} ORDER BY images.id", values), int
    )


def condition_of(connection: Connection, filters: Filters) -> tuple[str, dict[str, object]]:
    """The condition on `IMAGES` by which images pass, and its values.

    Raises:
        UnknownEntityError: the index knows no entity or class of that identifier.
    """
    if filters.entity and not connection.execute(_KNOWN, {"entity": filters.entity}).fetchone()[0]:
        raise unknown_entity(connection, filters.entity)
    conditions, values = [EVERY], dict[str, object]()
    if filters.entity or filters.type or filters.min_probability > 0:
        conditions.append(f"images.id IN (SELECT labels.image FROM labels WHERE {labelled(filters)})")
        values |= {"entity": filters.entity, "type": filters.type, "probability": filters.min_probability}
    if filters.folder:
        folder = filters.folder.rstrip("/")
        path = os.fsencode(folder)
        conditions.append(
            "(images.file >= :first AND images.file < :last OR sources.path = :folder "
            "OR sources.path >= :folder || '/' AND sources.path < :folder || '0')"
        )
        values |= {"first": path + b"/", "last": path + b"0", "folder": folder}
    for number, (names, pattern) in enumerate(_columns(filters)):
        columns = [connection.column(f"name{number}_{column}") for column in range(len(names))]
        conditions.append(f"lower(coalesce({', '.join([*columns, 'NULL'])})) LIKE :like{number} ESCAPE '!'")
        # A star is the only mark of a pattern. SQL's lower() changes A–Z alone, and so does that of bytes.
        lower = pattern.encode().lower().decode()
        values[f"like{number}"] = re.sub(r"[!%_]", r"!\g<0>", lower).replace("*", "%")
        values |= {f"name{number}_{column}": name for column, name in enumerate(names)}
    for bound, operator in (("since", ">="), ("until", "<=")):
        if day := getattr(filters, bound):
            conditions.append(f"substr({date_of(connection)}, 1, 8) {operator} :{bound}")
            values |= {bound: day.replace("-", ""), "date": "date"}
    if filters.verdict:
        conditions.append(f"images.id IN (SELECT images.id FROM {SAID} WHERE verdict = :verdict)")
        values["verdict"] = filters.verdict
    return " AND ".join(conditions), values


def labelled(filters: Filters) -> str:
    """The condition on `labels`; one below the threshold counts where a probability was asked for."""
    conditions = ["labels.probability >= :probability" if filters.min_probability else "labels.accepted = 1"]
    if filters.entity:
        conditions.append(
            "(labels.entity = :entity OR labels.entity IN (SELECT entity FROM supertypes WHERE above = :entity))"
        )
    if filters.type:
        conditions.append("labels.entity IN (SELECT entity FROM types WHERE type = :type)")
    return " AND ".join(conditions)


def _columns(filters: Filters) -> list[tuple[tuple[str, ...], str]]:
    """Names that a column may have, and what is asked of it."""
    licence = [(("licence", "license"), filters.licence)] if filters.licence else []
    return [*licence, *(((name,), value) for name, value in filters.columns.items())]


FUSION = 60
"""k of reciprocal rank fusion: a result counts 1 / (k + rank) in each list (Cormack, Clarke and Büttcher 2009)."""
DEPTH = 1200
"""Results of each list that are fused, at least."""
UNTIL, _MOST_MEANT = 0.9, 10
_TEXTS = "SELECT EXISTS (SELECT 1 FROM images WHERE text <> '')"
_JUDGED = 4096
"""Nearest images whose probability is computed, at most; what lies beyond counts as wrong."""


@dataclass(frozen=True)
class _Listed:
    """Ranked images with what is known of them: (n,) each.

    Attributes:
        images, duplicates, cosines, keywords, probabilities: see `Hit`.
        judged: the images whose probability is that of labels.
        meant: identifiers of the entities that `judged` are of.
        found: how many were ranked before they were folded.
    """

    images: Ints
    duplicates: list[tuple[int, ...]]
    cosines: dict[int, float]
    keywords: dict[int, int]
    probabilities: dict[int, float]
    judged: frozenset[int]
    meant: tuple[str, ...]
    found: int

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def dense_probabilities(self) -> Doubles:
        """(n,) probabilities; 0 where there is none."""
        if not self.probabilities:
            return np.zeros(len(self.images))
        return np.array([self.probabilities.get(image, 0.0) for image in self.images.tolist()])


def ranked(state: State, connection: Connection, query: Query, vector: Array | None) -> Results:
    """The images that answer a query."""
    query, senses = as_entity(state, connection, query)
    content, depth, needed = _content(connection, query), DEPTH, max(query.limit, query.offset + 1)
    key = _list_key(connection, query, vector), content
    while True:
        listed = state.listings.get((key, depth))
        if not isinstance(listed, _Listed):
            within = images_within(connection, query.filters) if query.filters else None
            listed = _listed(state, connection, query, vector, content, within, depth)
            state.listings.put((key, depth), listed)
        end = end_of(listed.dense_probabilities, query.until or UNTIL) if listed.probabilities else None
        # All pages are of one list. One that is too short, or whose end was not reached, goes on.
        open_ended = len(listed) < needed or (end == len(listed) and depth < _JUDGED)
        if listed.found < depth or not open_ended:
            why = uncalibrated(state.calibration, query, bool(listed.judged))
            return _page(state, connection, listed, query, end, why, senses or list(listed.meant))
        depth *= 4


def _list_key(connection: Connection, query: Query, vector: Array | None) -> Hashable:
    """What a list depends on beside the commit: the query but for its page, and verdicts, which are no commits."""
    verdicts = connection.execute("SELECT max(id), sum(undone) FROM verdicts").fetchone()
    whole = repr(replace(query, examples=(), limit=1, offset=0, until=None))
    return whole, bool(query.examples), None if vector is None else vector.tobytes(), tuple(verdicts)


def _page(
    state: State, connection: Connection, listed: _Listed, query: Query, end: int | None, why: str, meant: list[str]
) -> Results:
    probabilities, last = listed.dense_probabilities, query.offset + query.limit
    page = slice(query.offset, last if query.until is None or end is None else min(end, last))
    images, expected = listed.images[page].tolist(), expected_precision(probabilities)[page].tolist()
    records = image_records(connection, images)
    hits = tuple(
        Hit(
            records[image],
            rank,
            listed.cosines.get(image),
            listed.keywords.get(image),
            listed.probabilities.get(image),
            None if end is None else precision,
            duplicates,
            _basis(listed, query, image),
        )
        for rank, (image, precision, duplicates) in enumerate(
            zip(images, expected, listed.duplicates[page], strict=True), query.offset + 1
        )
    )
    known = entity_records(connection, meant[:_MOST_MEANT])
    senses = tuple(known[entity] for entity in meant if entity in known)
    note = ""
    if not len(listed):
        note = "Nothing in the index answers this."
    elif end is not None and probabilities.max() < LIKELY:
        which = "No image that was judged" if why else "No result"
        note = f"{which} is likely to be right: the best one has a probability of {probabilities.max():.2f}."
    elif end is None and query.text and query.keywords and not listed.keywords and _has_texts(state, connection):
        note = "None of these images has any of the words in its text: they are only what is closest."
    right, in_all = (None, None) if end is None else (float(probabilities[:end].sum()), float(probabilities.sum()))
    until = query.until or UNTIL
    return Results(hits, len(listed), until, end, right, in_all, note, 0.0, why, query.entity, senses)


def _has_texts(state: State, connection: Connection) -> bool:
    """Whether any image has a text; asked once a commit, since where none has, all are looked at."""
    known = state.listings.get(_TEXTS) or state.listings.put(_TEXTS, connection.execute(_TEXTS).fetchone())
    return isinstance(known, tuple) and bool(known[0])


def _basis(listed: _Listed, query: Query, image: int) -> Literal["", "labels", "similarity", "mark"]:
    if image not in listed.probabilities:
        return ""
    if image in query.like or image in query.unlike:
        return "mark"
    return "labels" if image in listed.judged else "similarity"


def _listed(
    state: State,
    connection: Connection,
    query: Query,
    vector: Array | None,
    content: str,
    within: Ints | None,
    depth: int,
) -> _Listed:
    passing = None if within is None else set(within.tolist())
    cosines = _nearest(state, vector, depth, within) if vector is not None else {}
    nearest = list(cosines)
    words = images_by_text(connection, query.text, depth) if query.keywords else []
    words = [image for image in words if passing is None or image in passing]
    keywords = {image: rank for rank, image in enumerate(words, 1)}
    meaning = _meaning(connection, query, depth)
    if meaning:
        meant, judged = meaning.entities, dict(meaning.judged)
    else:  # the entity that alone is asked for
        meant = (query.entity,) if query.entity and not (query.examples or query.text) else ()
        judged = judged_for(connection, meant)
    if passing is not None:
        judged = {image: probability for image, probability in judged.items() if image in passing}
    if vector is None and not query.text:
        order = within.tolist() if within is not None and not query.order else _unranked(connection, query.order)
        order = [image for image in order if passing is None or image in passing]
    else:
        likely = sorted(judged, key=lambda image: -judged[image])[:_JUDGED]
        order = fused([nearest, list(keywords), [image for image in likely if image not in cosines]])
    cosines |= _cosines(state, vector, [image for image in order if image not in cosines])
    by_similarity = _probabilities(state, query, vector, cosines, meaning) if vector is not None else {}
    # The label job has also read the text: what it says of an image counts for more than a cosine.
    of_labels = {image: probability for image, probability in judged.items() if image in cosines}
    probabilities = by_similarity | of_labels
    if probabilities:  # a mark is a person's word, as a verdict is
        probabilities |= dict.fromkeys([*_copies(connection, content, nearest), *query.like], 1.0)
        probabilities |= dict.fromkeys(query.unlike, 0.0)
    order = sorted(order, key=set(query.unlike).__contains__)
    if probabilities:
        # Equal probabilities keep the order of their cosines and keywords. Where only labels have one, what was judged
        # to be unlikely does not come before what was not judged.
        least = 0.0 if by_similarity else LIKELY
        order = sorted(order, key=lambda image: -each if (each := probabilities.get(image, -1.0)) >= least else 1.0)
    folded = _folded(state, order, query.fold)
    images = np.array(list(folded), np.int64)
    duplicates = list(folded.values())
    return _Listed(images, duplicates, cosines, keywords, probabilities, frozenset(of_labels), meant, len(order))


def _copies(connection: Connection, content: str, nearest: Sequence[int]) -> list[int]:
    """Return those of this content among the hundred nearest images; none where it is ""."""
    records = image_records(connection, nearest[:100]) if content else {}
    return [copy for copy, record in records.items() if record.content == content]


def _content(connection: Connection, query: Query) -> str:
    """Return the content (`ImageRecord`) of the only image of a query of nothing else: a copy shows what it shows."""
    example, *others = query.examples or (None,)
    if not example or others or query.text or query.entity or query.like or example.region or example.weight <= 0:
        return ""
    image = example.image
    if isinstance(image, int):
        return next((record.content for record in image_records(connection, [image]).values()), "")
    data = Path(image).read_bytes() if isinstance(image, str | Path) and Path(image).is_file() else image
    return content_digits(data) if isinstance(data, bytes) else ""


def _meaning(connection: Connection, query: Query, depth: int) -> Meaning | None:
    """What a text means that alone is asked for."""
    if not query.text or query.examples or query.entity or query.like:
        return None
    words = images_by_text(connection, query.text, depth, every=True) if query.keywords else []
    if not (query.keywords and query.named):
        return Meaning(words=frozenset(words))
    return meaning_of(connection, query.text, words)


def _cosines(state: State, vector: Array | None, ids: Sequence[int]) -> dict[int, float]:
    """Id → exact cosine, of those that have a vector."""
    if vector is None or not len(ids):
        return {}
    positions = state.positions(np.array(ids, np.int64))
    there = positions >= 0
    values = state.exact.rows(positions[there]) @ vector
    return dict(zip(np.array(ids)[there].tolist(), values.tolist(), strict=True))


def _probabilities(
    state: State, query: Query, vector: Array, cosines: dict[int, float], meaning: Meaning | None
) -> dict[int, float]:
    """Id → probability; nothing where the index is not calibrated for such queries."""
    ending = state.ending
    by_image = bool(query.examples or query.like)
    curve = ending and (ending.image if by_image else ending.text)
    if not (ending and curve and cosines):
        return {}
    ids = sorted(cosines, key=lambda image: -cosines[image])[:_JUDGED]
    positions = state.positions(np.array(ids, np.int64))
    features = state.surroundings.features(vector, state.exact.rows(positions), np.array([cosines[i] for i in ids]))
    features = features[:, :OF_IMAGES] if by_image else np.hstack([features, (meaning or Meaning()).features(ids)])
    return dict(zip(ids, curve(features).tolist(), strict=True))


def fused(lists: Sequence[Sequence[int]]) -> list[int]:
    """Reciprocal rank fusion of ranked ids; equal ones by the first list that has them."""
    if len(some := [ids for ids in lists if ids]) == 1:
        return list(some[0])
    scores: dict[int, float] = {}
    for ids in lists:
        for rank, image in enumerate(ids, 1):
            scores[image] = scores.get(image, 0.0) + 1.0 / (FUSION + rank)
    return sorted(scores, key=lambda image: -scores[image])


def _nearest(state: State, vector: Array, depth: int, within: Ints | None) -> dict[int, float]:
    """Id → cosine, falling."""
    allowed = None if within is None and state.alive.all() else state.alive.copy()
    if within is not None and allowed is not None:
        allowed &= np.isin(state.images, within)
    scores, positions = state.vectors.search(vector[None], min(depth, len(state.vectors)), allowed)
    valid = positions[0] >= 0
    return dict(zip(state.images[positions[0][valid]].tolist(), scores[0][valid].astype(float).tolist(), strict=True))


def _unranked(connection: Connection, order: str) -> list[int]:
    """All images; those without a date come last."""
    if not order:
        return column_of(connection, "SELECT id FROM images ORDER BY id")
    date, way = f"nullif({date_of(connection)}, '')", "DESC" if order == "newest" else "ASC"
    ordered = f"SELECT id FROM images ORDER BY {date} IS NULL, {date} {way}, id"
    return column_of(connection, ordered, {"date": "date"})


def _folded(state: State, order: Sequence[int], fold: bool) -> dict[int, tuple[int, ...]]:
    """Id → near-duplicates that come after it, which are no results of their own."""
    if not fold:
        return dict.fromkeys(order, ())
    ids = np.array(order, np.int64)
    positions = state.positions(ids)
    hashes = np.zeros(len(order), np.uint64)
    hashes[positions >= 0] = state.phash[positions[positions >= 0]]
    into = folded_into(hashes)
    itself = into == np.arange(len(order))
    folded: dict[int, tuple[int, ...]] = dict.fromkeys(ids[itself].tolist(), ())
    for position in np.flatnonzero(~itself).tolist():
        folded[order[into[position]]] += (order[position],)
    return folded
